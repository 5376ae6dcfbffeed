"""Settings to a Spark session with the Iceberg catalog of the archive."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from events.config import Settings

#: As the archive names it, in any catalog.
NAMESPACE = "events"
RAW, REJECTED = "raw", "raw_rejected"
HOURLY, WINDOWED = "hourly_counts", "windowed_counts"
_EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
_LOCAL = {
    "spark.master": "local[2]",
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
    # What it warns of is the same each time, and hides what is said.
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
#: pyspark leaves this to a program that spark-submit started.
_SUBMITTED = "PYSPARK_GATEWAY_PORT"


@contextmanager
def opened_session(name: str, settings: Settings) -> Iterator[SparkSession]:
    """
    A session whose catalog of the settings' name is the archive's.

    What spark-submit was told stays: the master, the jars, the catalog. Where it was told none, it
    is this machine, the jars that the tests use, and the catalog that `archive` makes here.

    Raises:
        InvalidInput: There is no Java for it.
        LocalServerError: The jars could not be fetched.
    """
    found = SparkSession.getActiveSession()
    session = found or _start(name)
    catalog = _catalog(settings)
    if session.conf.get(next(iter(catalog)), None) is None:
        # Spark's own client does not make it.
        Path(settings.iceberg_folder).mkdir(parents=True, exist_ok=True)
        for key, value in catalog.items():
            session.conf.set(key, value)
    try:
        yield session
    finally:
        if found is None:
            session.stop()


def table_name(settings: Settings, table: str) -> str:
    """A table of the archive, as Spark's SQL names it."""
    return f"{settings.iceberg_catalog_name}.{NAMESPACE}.{table}"


def _start(name: str) -> SparkSession:
    builder = SparkSession.builder.appName(name)
    for key, value in (_SHARED if _SUBMITTED in os.environ else _on_this_machine()).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


#: Hours are UTC hours, whatever the machine's own zone is.
_SHARED = {"spark.sql.session.timeZone": "UTC", "spark.sql.extensions": _EXTENSIONS}


def _on_this_machine() -> Mapping[str, str]:
    # A job that spark-submit starts has no use for it.
    from events.local import spark

    spark.check_java()
    # Its workers are this Python, and not the first one on PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return {**_SHARED, **_LOCAL, "spark.jars": ",".join(map(str, spark.spark_jars()))}


def _catalog(settings: Settings) -> Mapping[str, str]:
    """The catalog that `archive` makes on this machine, as Spark reads it."""
    folder = Path(settings.iceberg_folder).absolute()
    prefix = f"spark.sql.catalog.{settings.iceberg_catalog_name}"
    return {
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        f"{prefix}.type": "jdbc",
        f"{prefix}.uri": f"jdbc:sqlite:{folder / 'catalog.db'}",
        f"{prefix}.jdbc.schema-version": "V1",
        f"{prefix}.warehouse": (folder / "warehouse").as_uri(),
        # Another process writes as well: what is read must be what is there.
        f"{prefix}.cache-enabled": "false",
    }
