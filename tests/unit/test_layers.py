"""Imports run one way. STYLE: a layer imports the layers before it, and its own package."""

from __future__ import annotations

import ast
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
LAYERS: list[set[str]] = [
    {"__version__", "errors", "models", "config"},
    {"domain", "local", "page"},
    {"datamodels", "queries", "verification", "telemetry", "client"},
    {"ingest", "dynamodb", "sql"},
    {"dao", "service", "auth"},
    {"kafka"},
    {"archive"},
    {"bootstrap"},
    {"api"},
    {"app", "server"},
    {"cli"},
    {"__main__"},
]
NEVER = {
    "service": {"dao", "dynamodb", "sql", "config"},
    "api": {"dao", "dynamodb", "sql", "kafka", "bootstrap"},
    "dynamodb": {"queries", "sql"},
    "sql": {"queries", "dynamodb"},
    "kafka": {"api"},
}
#: By driver, the layers that may import it; inside a function counts too.
DRIVERS = {
    "boto3": {"bootstrap"},
    "botocore": {"dynamodb", "bootstrap"},
    "sqlalchemy": {"sql", "archive"},
    "psycopg": {"sql"},
    "alembic": {"sql"},
    "fastapi": {"api", "page", "app", "server"},
    "uvicorn": {"server"},
    "confluent_kafka": {"kafka", "archive"},
    "pyiceberg": {"archive"},
    "pyspark": set(),
    "jobs": set(),
}
JOBS_MAY_IMPORT = {"domain", "models", "errors", "config", "bootstrap", "local", "service"}
#: The Flink job also reads the topic's ends, and tables without Spark.
FLINK_MAY_IMPORT = JOBS_MAY_IMPORT | {"kafka", "archive"}
RANK = {layer: rank for rank, layers in enumerate(LAYERS) for layer in layers}


def imports(file: Path) -> set[str]:
    """Dotted names that a file imports; `from a import b` gives `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layers_of(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("events.")}


def arrows() -> set[tuple[str, str, str]]:
    """(file, its layer, imported name) over the whole package."""
    root = CHECKOUT / "events"
    return {
        (file.relative_to(CHECKOUT).as_posix(), file.relative_to(root).parts[0].split(".")[0], name)
        for file in root.rglob("*.py")
        for name in imports(file)
    }


def test_imports_run_one_way() -> None:
    wrong = set()
    for file, layer, name in arrows():
        for other in layers_of({name}) - {layer, "__init__"}:
            if RANK[other] >= RANK[layer] or other in NEVER.get(layer, set()):
                wrong.add(f"{file} imports {name}")
    assert wrong == set()


def test_drivers_are_imported_by_their_layer_alone() -> None:
    wrong = {
        f"{file} imports {name}"
        for file, layer, name in arrows()
        if layer not in DRIVERS.get(name.split(".")[0], {layer})
    }
    assert wrong == set()


def test_jobs_stand_on_few_layers() -> None:
    for file in (CHECKOUT / "jobs").rglob("*.py"):
        names = imports(file)
        is_spark = any(name.startswith("pyspark") for name in names)
        assert layers_of(names) <= (JOBS_MAY_IMPORT if is_spark else FLINK_MAY_IMPORT), file


def test_the_flink_job_needs_no_spark() -> None:
    waiting, seen = ["jobs.flink_counts"], set()
    while waiting:
        module = waiting.pop()
        file = CHECKOUT / f"{module.replace('.', '/')}.py"
        if module in seen or not file.exists():
            continue
        seen.add(module)
        names = imports(file)
        assert not any(name.startswith("pyspark") for name in names), module
        waiting += [name.rpartition(".")[0] for name in names if name.startswith("jobs.")]
    assert "jobs.lib.iceberg" in seen


def test_verify_shares_no_code_with_what_writes_counters() -> None:
    names = imports(CHECKOUT / "events" / "verification.py")
    constants = {"ALL_TIME", "HOUR", "LATEST"}
    allowed = {f"events.domain.windows.{name}" for name in constants}
    assert {n for n in names if n.startswith("events.") and "events.models." not in n} == allowed
