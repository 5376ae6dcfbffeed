"""Imports run one way, wherever in a file they stand."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
#: The two commands at the root belong to the edges too.
SCRIPTS = ("ingest_events_from_file.py", "sample_api_requests.py")

EDGES = (
    "events.app", "events.api", "events.cli", "events.commands", "events.fileingest",
    "events.local", "events.__main__", "events.server", "events.stream",
)  # fmt: skip
USE_CASES = (
    "events.service", "events.writer", "events.counting", "events.periods", "events.exports",
    "events.summaries", "events.lookup", "events.changes", "events.erasure",
    "events.verification", "events.access",
)  # fmt: skip
#: What talks to DynamoDB; `bootstrap` puts it together.
DATABASE = (
    "events.dao", "events.commits", "events.registry", "events.changelog", "events.keydao",
    "events.changefeed", "events.listings", "events.calls", "events.tables", "events.bulk",
    "events.windowedstore",
)  # fmt: skip
PURE = (
    "events.windows", "events.rollups", "events.timestamps", "events.parsing",
    "events.transactions", "events.datamodels", "events.csvfile", "events.apikeys",
    "events.addresses", "events.calendars", "events.formats", "events.clocks",
    "events.slots",
)  # fmt: skip
GROUND = ("events.models", "events.errors", "events.config", "events.metrics")
DRIVERS = ("boto3", "botocore")
WEB = ("fastapi", "starlette", "uvicorn", "pydantic")
THREADS = ("threading", "concurrent", "asyncio", "socket", "subprocess")
#: Of the stream edge, what knows nothing of Kafka's client, of settings or of threads.
STREAM_PURE = (
    "events.stream.messages", "events.stream.offsets", "events.stream.backoff",
    "events.stream.pipeline", "events.stream.measures",
)  # fmt: skip
#: Files that are longer than 350 lines, and why.
LONG_FILES = {
    "events/dao.py": "all that is written and read in the two tables, with the reasons",
    "events/datamodels.py": "the keys and expressions of both tables, which must agree",
    "events/models.py": "every value that crosses files, each with what it means",
    "events/csvfile.py": "one reader of blocks: its cases share their state",
}
MOST_LINES = 350


def module_name(file: Path) -> str:
    parts = file.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file for file in sorted((CHECKOUT / "events").rglob("*.py"))}
JOBS = {module_name(file): file for file in sorted((CHECKOUT / "jobs").rglob("*.py"))}


@cache
def imports_of(file: Path) -> frozenset[str]:
    """Every module that a file imports, also inside a function or for the type checker alone."""
    package = ".".join(file.relative_to(CHECKOUT).parts[:-1])
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative: one dot is the package itself
                parents = package.split(".")[: 1 - node.level or None]
                base = ".".join([*parents, *filter(None, [base])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if name in FILES else base)
    return frozenset(found)


def is_in(module: str, groups: Collection[str]) -> bool:
    return any(module == group or module.startswith(f"{group}.") for group in groups)


def ours(file: Path) -> frozenset[str]:
    return frozenset(each for each in imports_of(file) if is_in(each, ["events"]))


def offences(names: Collection[str], forbidden: Collection[str]) -> list[str]:
    return [
        f"{name} imports {each}"
        for name in names
        for each in sorted(imports_of(FILES[name]))
        if is_in(each, forbidden)
    ]


def test_the_files_that_the_rules_speak_of_are_there_and_every_import_is_seen() -> None:
    named = {*EDGES, *USE_CASES, *DATABASE, *PURE, *GROUND, "events.bootstrap"}
    assert named <= FILES.keys()
    assert "events.datamodels" in imports_of(FILES["events.dao"]), "at the top of a file"
    assert "events.local.run" in imports_of(FILES["events.cli"]), "inside a function"
    assert "mypy_boto3_dynamodb" in imports_of(FILES["events.dao"]), "for types alone"
    assert "events.verification" in imports_of(FILES["events.service"]), "from the package"


@pytest.mark.parametrize("name", GROUND)
def test_models_errors_and_config_import_nothing_of_ours(name: str) -> None:
    assert ours(FILES[name]) == frozenset()


def test_only_the_dao_knows_how_items_look() -> None:
    assert {name for name, file in FILES.items() if "events.datamodels" in imports_of(file)} == {
        "events.dao",
        "events.commits",
        "events.registry",
        "events.changelog",
        "events.changefeed",
        "events.bulk",
        "events.bootstrap",  # for the names of the tables
    }


def test_the_use_cases_know_neither_the_database_nor_the_web() -> None:
    above = ["events.datamodels", "events.bootstrap", "events.config"]
    assert offences(USE_CASES, [*DATABASE, *above, *DRIVERS, "mypy_boto3_dynamodb", *WEB]) == []


def test_the_database_does_not_know_the_use_cases() -> None:
    assert offences(DATABASE, [*USE_CASES, "events.bootstrap", "events.config", *WEB]) == []


def test_only_the_database_and_its_assembly_import_boto() -> None:
    users = {
        name for name in FILES if any(is_in(each, DRIVERS) for each in imports_of(FILES[name]))
    }
    assert users == {"events.calls", "events.commits", "events.bootstrap"}


def test_only_what_keeps_tables_makes_single_calls() -> None:
    users = {name for name, file in FILES.items() if "events.calls" in imports_of(file)}
    assert users == {
        "events.dao", "events.commits", "events.registry", "events.changelog", "events.keydao",
        "events.changefeed", "events.bulk",
    }  # fmt: skip


def test_nothing_below_the_edges_imports_an_edge() -> None:
    names = [name for name in FILES if not is_in(name, EDGES)]
    assert {*USE_CASES, *DATABASE, *PURE, *GROUND, "events.bootstrap"} <= set(names)
    assert offences(names, EDGES) == []


def test_pure_files_import_no_driver_no_web_no_thread_and_nothing_above_them() -> None:
    assert offences(PURE, [*DRIVERS, *WEB, *THREADS]) == []
    assert offences(PURE, [*DATABASE, *USE_CASES, "events.bootstrap", "events.config"]) == []


def test_only_the_stream_edge_imports_kafka_and_iceberg() -> None:
    users = {
        name
        for name, file in FILES.items()
        if any(is_in(each, ["confluent_kafka", "pyiceberg"]) for each in imports_of(file))
    }
    assert "events.stream.clients" in users
    assert {name for name in users if not is_in(name, ["events.stream"])} == set()


def test_what_decides_about_messages_and_offsets_runs_without_kafka() -> None:
    above = ["events.bootstrap", "events.config", *DATABASE]
    assert offences(STREAM_PURE, ["confluent_kafka", *DRIVERS, *WEB, *THREADS, *above]) == []


def test_kafka_is_loaded_only_where_it_is_asked_for() -> None:
    """It is in none of the requirements of the service itself."""
    code = (
        "import sys, events.cli, events.app, ingest_events_from_file; "
        "events.app.create_app(events.config.Settings()); "
        "sys.exit('confluent_kafka' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, timeout=60)


def test_only_the_http_edge_imports_the_web_framework() -> None:
    web = {
        name
        for name, file in FILES.items()
        if any(is_in(each, ["fastapi", "starlette"]) for each in imports_of(file))
    }
    assert "events.app" in web
    assert {name for name in web if not is_in(name, ["events.app", "events.api"])} == set()


def test_imports_go_round_in_no_circle() -> None:
    graph = {name: {each for each in ours(file) if each != name} for name, file in FILES.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as exc:
        pytest.fail(f"these import each other: {' → '.join(exc.args[1])}")
    assert set(order) == set(FILES)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_commands_at_the_root_stand_on_what_there_is_and_nothing_stands_on_them(
    script: str,
) -> None:
    imports = imports_of(CHECKOUT / script)
    assert {each for each in imports if is_in(each, ["events"])} <= FILES.keys()
    below = [*DATABASE, "events.datamodels", *DRIVERS]
    assert [each for each in imports if is_in(each, below)] == []
    stem = script.removesuffix(".py")
    assert [name for name, file in FILES.items() if stem in imports_of(file)] == []


@pytest.mark.parametrize("name", JOBS)
def test_a_job_stands_on_the_pure_files_and_on_what_puts_the_store_together(name: str) -> None:
    allowed = [*PURE, *GROUND, "events.bootstrap"]
    # Spark's jars, where nobody else brings them.
    allowed += ["events.local"] if name == "jobs.session" else []
    imports = ours(JOBS[name]) - {"events"}
    assert [each for each in sorted(imports) if not is_in(each, allowed)] == []
    assert "events.datamodels" not in imports


def test_spark_is_known_to_the_jobs_alone_and_they_to_nobody() -> None:
    assert [name for name, file in FILES.items() if is_any_in(file, ["pyspark", "jobs"])] == []


def is_any_in(file: Path, groups: Collection[str]) -> bool:
    return any(is_in(each, groups) for each in imports_of(file))


def test_a_file_has_one_job_and_at_most_350_lines() -> None:
    lines = {
        file.relative_to(CHECKOUT).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for file in (*FILES.values(), *JOBS.values())
    }
    too_long = {name: number for name, number in lines.items() if number > MOST_LINES}
    assert too_long.keys() <= LONG_FILES.keys(), too_long
    assert LONG_FILES.keys() <= lines.keys()
