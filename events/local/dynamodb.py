"""DynamoDB Local: fetched once from Maven Central, started, stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from events.errors import EventsError
from events.local.java import java_executable

VERSION = "3.3.1"
#: Without its own ion-java the resolver stops at a version range.
_COORDINATES = f"software.amazon.dynamodb:DynamoDBLocal:{VERSION}+com.amazon.ion:ion-java:1.11.10"
_MAIN_CLASS = "software.amazon.dynamodb.services.local.main.ServerRunner"
_CHECKOUT = Path(__file__).parents[2]
#: Ignored by git. The licence of DynamoDB Local forbids redistribution: never commit a jar.
_JARS = _CHECKOUT / ".local" / f"dynamodb-local-{VERSION}"
DATA_FOLDER = _CHECKOUT / ".local" / "data"


class LocalServerError(EventsError):
    """A server for this machine could not be fetched or started."""


class DynamoDBLocal:
    """A running DynamoDB Local; a context manager that stops it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, scratch: Path) -> None:
        self.endpoint_url = f"http://localhost:{port}"
        self.port = port
        self.pid = process.pid
        self._process = process
        self._scratch = scratch

    def stop(self) -> None:
        """
        End it, as often as you like. After SIGTERM it loses nothing; it is killed after 10 s.
        """
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait()

    def __enter__(self) -> DynamoDBLocal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start(
    *,
    port: int = 0,
    data_folder: Path | None = None,
    log: Path | None = None,
    ready_timeout_seconds: float = 60,
) -> DynamoDBLocal:
    """
    Start DynamoDB Local and wait until it answers.

    Args:
        port: 0 takes a free one.
        data_folder: Made if it is not there; None keeps everything in memory.
        log: What the server prints goes here; None drops it, except when it does not start.
        ready_timeout_seconds: It answers after about one second.

    Raises:
        LocalServerError: It could not be fetched, the port is taken, or it did not answer in time.
    """
    class_path = _class_path(os.environ)
    port = port or _free_port()
    if _is_taken(port):
        raise LocalServerError(
            f"port {port} is taken by another program: stop that, or name another port"
        )
    # Each start leaves a native library in java.io.tmpdir: its own folder goes with it.
    scratch = Path(tempfile.mkdtemp(prefix="dynamodb-local-"))
    arguments: list[str] = ["-inMemory"]
    if data_folder is not None:
        data_folder.mkdir(parents=True, exist_ok=True)
        arguments = ["-dbPath", str(data_folder)]
    output = log or scratch / "log"
    try:
        with output.open("ab") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
                [
                    str(java_executable()),
                    f"-Djava.io.tmpdir={scratch}",
                    "-cp",
                    class_path,
                    _MAIN_CLASS,
                    "-port",
                    str(port),
                    "-sharedDb",
                    "-disableTelemetry",
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                # Its own session: a Ctrl-C on the terminal is ours, and we stop it in good order.
                start_new_session=True,
            )
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    server = DynamoDBLocal(process, port, scratch)
    try:
        _wait_until_ready(server, process, output, ready_timeout_seconds)
    except BaseException:
        server.stop()
        raise
    return server


def is_answering(endpoint_url: str, *, timeout_seconds: float = 1) -> bool:
    """Whether a DynamoDB answers there; needs no credentials, and changes nothing."""
    request = urllib.request.Request(  # noqa: S310 - the caller's own http(s) endpoint
        endpoint_url,
        data=b"{}",
        headers={
            "X-Amz-Target": "DynamoDB_20120810.ListTables",
            "Content-Type": "application/x-amz-json-1.0",
            # Any signature will do for DynamoDB Local, as long as it is there.
            "Authorization": (
                "AWS4-HMAC-SHA256 Credential=local/20210301/us-east-1/dynamodb/aws4_request, "
                "SignedHeaders=host, Signature=0"
            ),
        },
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=timeout_seconds) as answer:
            return "x-amzn-requestid" in answer.headers
    except urllib.error.HTTPError as exc:
        with exc:
            return "x-amzn-requestid" in exc.headers
    except (OSError, ValueError):  # nobody is there, or no HTTP
        return False


def _wait_until_ready(
    server: DynamoDBLocal, process: subprocess.Popen[bytes], log: Path, timeout_seconds: float
) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not is_answering(server.endpoint_url):
        if process.poll() is not None:
            raise LocalServerError(
                f"DynamoDB Local ended at once with code {process.returncode}: {_end_of(log)}"
            )
        if time.monotonic() > deadline:
            raise LocalServerError(
                f"DynamoDB Local did not answer within {timeout_seconds:g} s: {_end_of(log)}"
            )
        time.sleep(0.05)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2_000:].strip() or "it printed nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- the jars -------------------------------------------------------------------------------------


def _class_path(environment: Mapping[str, str]) -> str:
    home = environment.get("DYNAMODB_LOCAL_HOME")
    if home:
        jar = Path(home) / "DynamoDBLocal.jar"
        if not jar.is_file():
            raise LocalServerError(
                f"DYNAMODB_LOCAL_HOME is {home}, but there is no {jar}: name the folder of an "
                "unpacked DynamoDB Local, or unset it to have it fetched"
            )
        return os.pathsep.join((str(jar), str(Path(home) / "DynamoDBLocal_lib" / "*")))
    return str(fetch() / "*")


def must_be_fetched() -> bool:
    """Whether the next start begins with a download."""
    return not os.environ.get("DYNAMODB_LOCAL_HOME") and not _JARS.is_dir()


def fetch(folder: Path = _JARS) -> Path:
    """
    The folder with the jars of DynamoDB Local, fetched from Maven Central where it is not there.

    It appears whole or not at all: a run that was cut off leaves nothing that looks complete.

    Raises:
        LocalServerError: It could not be fetched.
    """
    if folder.is_dir():
        return folder
    # Slow to import, and needed once in a checkout's life.
    import jgo

    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        for artifact in jgo.resolve(_COORDINATES):
            jar = Path(artifact.resolve())
            _check_jar(jar)
            shutil.copy(jar, partial / jar.name)
        try:
            partial.rename(folder)
        except OSError:
            # Another process was first; what it put there is whole.
            if not folder.is_dir():
                raise
    except LocalServerError:
        raise
    except Exception as exc:
        raise LocalServerError(
            f"DynamoDB Local {VERSION} could not be fetched from Maven Central: {exc}. Check the "
            "network and run again, or set DYNAMODB_LOCAL_HOME to an unpacked copy"
        ) from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _check_jar(jar: Path) -> None:
    """A download that was cut off is removed, so that the next run fetches it again."""
    if jar.suffix == ".jar" and not zipfile.is_zipfile(jar):
        with contextlib.suppress(FileNotFoundError):
            jar.unlink()
        raise LocalServerError(f"{jar.name} arrived cut off: run again to fetch it anew")
