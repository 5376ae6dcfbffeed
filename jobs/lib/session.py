"""A Spark session with the Iceberg catalog of the archive."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from events.bootstrap import load_settings
from events.config import Settings
from jobs.lib.program import exit_code_of
from jobs.lib.tables import NAMESPACE

_EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
_LOCAL = {
    "spark.master": "local[2]",
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # As many as cores: more made a stream of small batches a fifth slower.
    "spark.sql.shuffle.partitions": "2",
    # Its warnings are always the same, and hide the job's own output.
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
#: spark-submit sets this variable for the programs that it starts.
_SUBMITTED = "PYSPARK_GATEWAY_PORT"


def run_on_spark(name: str, job: Callable[[SparkSession, Settings], int]) -> int:
    """Run a job in a session, and return its exit code; see `exit_code_of`."""

    def run() -> int:
        settings = load_settings()
        with opened_session(name, settings) as spark:
            return job(spark, settings)

    return exit_code_of(run)


@contextmanager
def opened_session(name: str, settings: Settings) -> Iterator[SparkSession]:
    """
    A session with the archive's catalog, under the name in the settings.

    The options of spark-submit (master, jars, catalog) are kept. Without them the session runs on
    this machine, with the jars that the tests use and the local catalog of `archive`.

    Raises:
        InvalidInput: No suitable Java was found.
        LocalServerError: The jars could not be downloaded.
    """
    active = SparkSession.getActiveSession()
    session = active or _start(name)
    catalog = _catalog(settings)
    if session.conf.get(next(iter(catalog)), None) is None:
        # Spark's JDBC catalog does not create the folder.
        Path(settings.iceberg_folder).mkdir(parents=True, exist_ok=True)
        for key, value in catalog.items():
            session.conf.set(key, value)
    try:
        yield session
    finally:
        if active is None:
            session.stop()


def table_name(settings: Settings, table: str) -> str:
    """The name of a table of the archive in Spark SQL."""
    return f"{settings.iceberg_catalog_name}.{NAMESPACE}.{table}"


def _start(name: str) -> SparkSession:
    builder = SparkSession.builder.appName(name)
    for key, value in (_SHARED if _SUBMITTED in os.environ else _on_this_machine()).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


#: Hours are UTC hours, whatever the machine's time zone is.
_SHARED = {"spark.sql.session.timeZone": "UTC", "spark.sql.extensions": _EXTENSIONS}


def _on_this_machine() -> Mapping[str, str]:
    # Imported here: spark-submit does not need it.
    from events.local import spark

    spark.check_java()
    # Run the workers with this Python, not the first one on PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return {**_SHARED, **_LOCAL, "spark.jars": ",".join(map(str, spark.spark_jars()))}


def _catalog(settings: Settings) -> Mapping[str, str]:
    """Spark's configuration of the local catalog of `archive`."""
    folder = Path(settings.iceberg_folder).absolute()
    prefix = f"spark.sql.catalog.{settings.iceberg_catalog_name}"
    return {
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        f"{prefix}.type": "jdbc",
        f"{prefix}.uri": f"jdbc:sqlite:{folder / 'catalog.db'}",
        f"{prefix}.jdbc.schema-version": "V1",
        f"{prefix}.warehouse": (folder / "warehouse").as_uri(),
        # Other processes write too: always read the current table.
        f"{prefix}.cache-enabled": "false",
    }
