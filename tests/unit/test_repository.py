"""What git holds: nothing of one machine, no registry, no jar, and pinned requirements."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
#: An absolute path of somebody's machine, as in a traceback or a configuration.
_OWN_PATH = re.compile(rb"(?<![\w.~-])/(?:home|root|work)/")
# Joined, so that this file does not name them.
_REGISTRIES = [
    ".".join(parts).encode()
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("registry", "npmjs", "org"),
    )
]
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z0-9,-]+\])?==([A-Za-z0-9.+!]+)(?: ; .+)?")


@cache
def tracked() -> tuple[Path, ...]:
    if not (CHECKOUT / ".git").exists():
        pytest.skip("no git checkout: nothing is tracked")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True
    ).stdout
    files = [CHECKOUT / name for name in listing.decode().split("\0") if name]
    return tuple(file for file in files if file.is_file())


def lines_with(pattern: re.Pattern[bytes]) -> list[str]:
    return [
        f"{file.relative_to(CHECKOUT)}:{number}"
        for file in tracked()
        for number, line in enumerate(file.read_bytes().splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_tracked_file_names_a_path_of_somebody_s_machine() -> None:
    assert _OWN_PATH.search(b"open(/" + b"home/me/x)"), "the pattern finds what it is for"
    assert not _OWN_PATH.search(b"https://example.com/" + b"home/"), "an address is not a path"
    assert lines_with(_OWN_PATH) == []


def test_no_tracked_file_names_the_host_of_a_package_registry() -> None:
    assert lines_with(re.compile(b"|".join(map(re.escape, _REGISTRIES)))) == []


def test_no_jar_is_tracked() -> None:
    assert [file.name for file in tracked() if file.suffix == ".jar"] == []
    # A jar by another name begins like a zip.
    assert [file.name for file in tracked() if file.read_bytes()[:4] == b"PK\x03\x04"] == []


def names_in(file: str) -> set[str]:
    """The distributions that a list for people names."""
    lines = (CHECKOUT / file).read_text(encoding="utf-8").splitlines()
    names = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines if line[:1] not in ("", "#", "-")]
    return {normalised(name[0]) for name in names if name}


def pins_in(file: str) -> dict[str, str]:
    """Each distribution and its version; fails on any line that is not a pin."""
    pins = {}
    for line in (CHECKOUT / file).read_text(encoding="utf-8").splitlines():
        if not line or line.lstrip().startswith("#"):
            continue
        pin = _PIN.fullmatch(line)
        assert pin, f"{file}: {line!r} is not a pin"
        pins[normalised(pin[1])] = pin[2]
    return pins


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "requirements-export"])
def test_every_requirement_is_pinned(name: str) -> None:
    pins = pins_in(f"{name}.txt")
    asked_for = names_in(f"{name}.in")
    assert asked_for
    assert asked_for <= pins.keys()


def test_the_service_is_tested_with_the_versions_that_it_runs_on() -> None:
    run, test = pins_in("requirements.txt"), pins_in("requirements-dev.txt")
    assert run == {name: test.get(name) for name in run}
