"""The package: its requirements, and a wheel that works where nothing else of the checkout is."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from events import bootstrap
from events.errors import InvalidInput

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(file: str) -> set[str]:
    lines = (CHECKOUT / file).read_text(encoding="utf-8").splitlines()
    return {line for line in lines if re.match("[a-z]", line)}


def test_the_package_requires_what_the_lists_name() -> None:
    extras = {name: set(names) for name, names in PROJECT["optional-dependencies"].items()}
    assert set(PROJECT["dependencies"]) | extras["sql"] == requirements("requirements.in")
    assert extras["kafka"] | extras["archive"] == requirements("requirements-stream.in")
    assert extras["spark"] - {"events[archive]"} == requirements("requirements-spark.in")
    assert extras["flink"] - {"events[archive]"} == requirements("requirements-flink.in")


def test_a_database_url_without_sqlalchemy_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVENTS_DATABASE_URL", "sqlite:///events.db")
    assert bootstrap.load_settings().events_database_url == "sqlite:///events.db"
    monkeypatch.setattr(bootstrap, "find_spec", lambda _: None)
    with pytest.raises(InvalidInput, match=r"pip install 'events\[sql\]'"):
        bootstrap.load_settings()


@pytest.mark.slow
def test_the_wheel_runs_in_an_environment_of_its_own(tmp_path: Path) -> None:
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", build, str(tmp_path)]
    out = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    wheel = tmp_path / out.split()[-1]
    names = set(zipfile.ZipFile(wheel).namelist())
    static = CHECKOUT / "events" / "page" / "static"
    files = {f"events/page/static/{file.relative_to(static)}" for file in static.rglob("*.*")}
    assert files
    assert files | {"events/local/events.csv", "events/py.typed", "jobs/recount.py"} <= names
    assert not [name for name in names if name.startswith(("tests", "resources", "benchmarks"))]

    # With the pip of this environment: to install another one takes half of the time.
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-index", "--no-deps", str(wheel)], check=True)
    # The requirements come from this environment, so that the test needs no network.
    packages = tmp_path / "venv" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (packages / "requirements.pth").write_text(sysconfig.get_path("purelib"))
    events = tmp_path / "venv" / "bin" / "events"
    rows = tmp_path / "rows.csv"
    rows.write_text("acme,api_call,t-1,2021-03-01T00:00:00Z\n")
    for arguments, expected in (
        (["--help"], "Usage: events "),
        (["ingest", "--dry-run", str(rows)], "1"),
        (["settings"], "EVENTS_API_KEYS"),
        (["completion", "bash"], "_EVENTS_COMPLETE"),
    ):
        ran = subprocess.run(
            [events, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert expected in ran.stdout + ran.stderr
    variables = {"_EVENTS_COMPLETE": "complete_bash", "COMP_WORDS": "events ver", "COMP_CWORD": "1"}
    assert subprocess.check_output([events], env=variables, text=True).split() == ["verify"]
    where = "import events; print(events.__file__, events.__version__)"
    told = subprocess.check_output([python, "-c", where], cwd=tmp_path, text=True)
    assert told.startswith(str(packages / "events"))
