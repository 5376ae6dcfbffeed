"""What Flink needs on this machine: its jars, and this project's job, compiled without a JDK."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

from events.local import jars
from events.local.javaserver import LocalServerError, java_program
from events.local.spark import ICEBERG_VERSION

FLINK_VERSION = "2.1.1"
_FLINK = "+".join(
    [
        *(
            f"org.apache.flink:flink-{name}:{FLINK_VERSION}"
            for name in (
                "clients",
                "table-planner-loader",
                "table-runtime",
                "table-api-java-bridge",
                "connector-files",
                "json",
                "statebackend-rocksdb",
            )
        ),
        "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
    ]
)
#: Without their dependencies: they contain them, or Flink has them.
_CONNECTORS = "+".join(
    (
        "org.apache.flink:flink-sql-connector-kafka:4.0.1-2.0",
        f"org.apache.iceberg:iceberg-flink-runtime-2.1:{ICEBERG_VERSION}",
        # Iceberg's Flink catalog needs Hadoop's classes, whatever the catalog is.
        "org.apache.hadoop:hadoop-client-api:3.4.2",
        "org.apache.hadoop:hadoop-client-runtime:3.4.2",
        "org.xerial:sqlite-jdbc:3.50.3.0",
    )
)
#: Eclipse's compiler: one jar, which a plain Java runtime can run.
_COMPILER = "org.eclipse.jdt:ecj:3.41.0"
_RELEASE = "17"


def class_path(sources: Path) -> str:
    """Flink, its connectors and the compiled classes; downloads and compiles what is missing."""
    folders = [
        jars.fetch("Flink", _FLINK, jars.FOLDER / f"flink-{FLINK_VERSION}"),
        jars.fetch(
            "Flink's connectors",
            _CONNECTORS,
            jars.FOLDER / f"flink-connectors-{FLINK_VERSION}-iceberg-{ICEBERG_VERSION}",
            is_with_dependencies=False,
        ),
    ]
    libraries = [str(folder / "*") for folder in folders]
    return os.pathsep.join([str(_compiled(sources, folders)), *libraries])


def make_jar(sources: Path, file: Path) -> None:
    """Pack the compiled classes for a cluster."""
    classes = Path(class_path(sources).split(os.pathsep)[0])
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as jar:
        for path in sorted(classes.rglob("*.class")):
            jar.write(path, path.relative_to(classes))


def _compiled(sources: Path, libraries: list[Path]) -> Path:
    """The folder of the compiled classes; its name changes with the sources."""
    files = sorted(sources.glob("*.java"))
    text = b"".join(file.read_bytes() for file in files) + FLINK_VERSION.encode()
    folder = jars.FOLDER / f"flink-classes-{hashlib.sha256(text).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    compiler = jars.fetch(
        "the Java compiler", _COMPILER, jars.FOLDER / "ecj", is_with_dependencies=False
    )
    on_path = os.pathsep.join(str(jar) for library in libraries for jar in library.glob("*.jar"))
    with tempfile.TemporaryDirectory(dir=jars.FOLDER) as scratch:
        output = Path(scratch) / "classes"
        options = ["-source", _RELEASE, "-target", _RELEASE, "-nowarn", "-cp", on_path]
        ran = subprocess.run(  # noqa: S603 - our own arguments, no shell
            [
                *(java_program(), "-jar", next(compiler.glob("*.jar"))),
                *options,
                *("-d", output),
                *files,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            raise LocalServerError(f"cannot compile {sources}: {ran.stderr[-2_000:]}")
        with suppress(OSError):  # another process was faster
            output.rename(folder)
    return folder
