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
from types import TracebackType
from typing import Self

from events.errors import EventsError
from events.local.java import java_executable


class LocalServerError(EventsError):
    """A local server could not be downloaded or started."""


class LocalServer:
    """A running server; a context manager that stops it."""

    def __init__(
        self, process: subprocess.Popen[bytes], scratch: Path, *, patience_seconds: float
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._scratch = scratch
        self._patience_seconds = patience_seconds

    def wait_until(
        self, is_ready: Callable[[], bool], name: str, output: Path, timeout_seconds: float
    ) -> None:
        """
        Wait until the server is ready; stop it if that fails.

        Args:
            name: The server's name in error messages.
            output: The file that the server writes to; an error shows its end.

        Raises:
            LocalServerError: The server exited, or was not ready in time.
        """
        deadline = time.monotonic() + timeout_seconds
        try:
            while not is_ready():
                if self._process.poll() is not None:
                    raise LocalServerError(
                        f"{name} exited at its start with code {self._process.returncode}: "
                        f"{end_of(output)}"
                    )
                if time.monotonic() > deadline:
                    raise LocalServerError(
                        f"{name} did not answer within {timeout_seconds:g} s: {end_of(output)}"
                    )
                time.sleep(0.05)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Terminate the server, and kill it if it does not end; calling this again is harmless."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=self._patience_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def wait(self) -> int:
        """Wait until the server exits; returns its exit code."""
        return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
    class_path: str,
    arguments: Sequence[str],
    *,
    scratch: Path,
    output: Path,
    options: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """
    Start a Java program.

    Args:
        arguments: The main class and its arguments.
        scratch: The program's folder for temporary files.
        output: The file to which its output is appended.
        options: Options of the Java runtime.
    """
    temporary = f"-Djava.io.tmpdir={scratch}"
    with output.open("ab") as stream:
        return subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            [str(java_executable()), temporary, *options, "-cp", class_path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            # In a session of its own: Ctrl-C on the terminal reaches only us, and we stop it.
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "CLASSPATH"},
        )


def end_of(output: Path) -> str:
    return output.read_text(errors="replace")[-2_000:].strip() or "it printed nothing"


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
