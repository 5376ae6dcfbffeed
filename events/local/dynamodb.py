"""
DynamoDB Local: download it once from Maven Central, start it, stop it.

`EVENTS_LOCAL_ENGINE` names a program to start in its place. Like `JAVA_HOME` it is about programs
of this machine, not a setting of the service.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from events.local import jars
from events.local.javaserver import (
    LocalServer,
    LocalServerError,
    check_port,
    free_port,
    launch,
    launch_program,
    scratch_folder,
)

VERSION = "3.3.1"
#: ion-java is named because the resolver cannot resolve the version range of this dependency.
_COORDINATES = f"software.amazon.dynamodb:DynamoDBLocal:{VERSION}+com.amazon.ion:ion-java:1.11.10"
_MAIN_CLASS = "software.amazon.dynamodb.services.local.main.ServerRunner"
_JARS = jars.FOLDER / f"dynamodb-local-{VERSION}"
#: Without Java's second compiler the start and the first 6,000 events took 40 % less processor
#: time, and eight loads of 2,000 events after a start 35 % less (benchmarks/README.md).
QUICK_JAVA = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
DATA_FOLDER = jars.FOLDER / "data"
DEFAULT_PORT = 9000


class DynamoDBLocal(LocalServer):
    """A running DynamoDB Local. SIGTERM loses no data."""

    @property
    def endpoint_url(self) -> str:
        return f"http://localhost:{self.port}"


def start(
    *, port: int = 0, data_folder: Path | None = None, java_options: Sequence[str] = QUICK_JAVA
) -> DynamoDBLocal:
    """
    Start DynamoDB Local, or the program in its place, and wait until it answers.

    Args:
        port: 0 chooses a free port.
        data_folder: Created if missing; None keeps all data in memory.
        java_options: The default suits a server that runs for minutes.
    """
    engine = _engine()
    class_path = "" if engine else _class_path()
    port = port or free_port()
    check_port(port)
    if data_folder is not None:
        data_folder.mkdir(parents=True, exist_ok=True)
    # Each start leaves a native library in java.io.tmpdir, so it gets a folder of its own.
    with scratch_folder("dynamodb-local-") as scratch:
        if engine:
            storage = ["--db-path", str(data_folder / "engine.db")] if data_folder else []
            process = launch_program([engine, "--port", str(port), *storage], scratch)
        else:
            storage = ["-dbPath", str(data_folder)] if data_folder else ["-inMemory"]
            arguments = [_MAIN_CLASS, "-port", str(port), "-sharedDb", "-disableTelemetry"]
            process = launch(class_path, [*arguments, *storage], scratch, java_options)
        server = DynamoDBLocal(process, port, scratch, stop_seconds=10)
        server.wait_until(partial(is_answering, server.endpoint_url), name())
    return server


def name() -> str:
    """What `start` starts."""
    return os.environ.get("EVENTS_LOCAL_ENGINE") or "DynamoDB Local"


def _engine() -> str | None:
    program = os.environ.get("EVENTS_LOCAL_ENGINE")
    if program and shutil.which(program) is None:
        raise LocalServerError(
            f"EVENTS_LOCAL_ENGINE is {program}, but there is no such program: correct it, or unset "
            "it to use DynamoDB Local"
        )
    return program


def is_answering(endpoint_url: str) -> bool:
    """Whether a DynamoDB answers at this endpoint; needs no credentials and changes nothing."""
    request = urllib.request.Request(  # noqa: S310 - the caller's own http(s) endpoint
        endpoint_url,
        data=b"{}",
        headers={
            "X-Amz-Target": "DynamoDB_20120810.ListTables",
            "Content-Type": "application/x-amz-json-1.0",
            # DynamoDB Local accepts any signature, but not a missing one.
            "Authorization": "AWS4-HMAC-SHA256 Credential=local/20210301/us-east-1/dynamodb/"
            "aws4_request, SignedHeaders=host, Signature=0",
        },
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=1) as answer:
            return "x-amzn-requestid" in answer.headers
    except urllib.error.HTTPError as exc:
        with exc:
            return "x-amzn-requestid" in exc.headers
    except (OSError, ValueError):  # no server, or not an HTTP server
        return False


def _class_path() -> str:
    home = os.environ.get("DYNAMODB_LOCAL_HOME")
    if home:
        jar = Path(home) / "DynamoDBLocal.jar"
        if not jar.is_file():
            raise LocalServerError(
                f"DYNAMODB_LOCAL_HOME is {home}, but {jar} does not exist: name the folder of an "
                "unpacked DynamoDB Local, or unset it to download one"
            )
        return os.pathsep.join((str(jar), str(Path(home) / "DynamoDBLocal_lib" / "*")))
    instead = ", or set DYNAMODB_LOCAL_HOME to an unpacked copy"
    return str(jars.fetch(f"DynamoDB Local {VERSION}", _COORDINATES, _JARS, instead=instead) / "*")


def must_be_fetched() -> bool:
    """Whether the next start downloads the program."""
    own = os.environ.get("EVENTS_LOCAL_ENGINE") or os.environ.get("DYNAMODB_LOCAL_HOME")
    return not own and not _JARS.is_dir()
