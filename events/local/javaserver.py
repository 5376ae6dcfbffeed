"""A Java program that serves on this machine: started, waited for, stopped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from events.errors import EventsError
from events.local.java import java_executable

if TYPE_CHECKING:
    from collections.abc import Iterator


class LocalServerError(EventsError):
    """A server for this machine could not be fetched or started."""


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
        Return once it is ready; else stop it.

        Args:
            name: What it is called in an error.
            output: The file with what it prints, whose end is in the error.

        Raises:
            LocalServerError: It ended, or did not get ready in time.
        """
        deadline = time.monotonic() + timeout_seconds
        try:
            while not is_ready():
                if self._process.poll() is not None:
                    raise LocalServerError(
                        f"{name} ended at once with code {self._process.returncode}: "
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
        """End it in good order, as often as you like; it is killed when it does not end."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=self._patience_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that stays where all goes well, for the server to remove at its end."""
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
        arguments: Its main class, and what that takes.
        scratch: Its folder for temporary files, in which it may leave what it likes.
        output: Where what it prints is added.
        options: For Java itself.
    """
    own = f"-Djava.io.tmpdir={scratch}"
    with output.open("ab") as stream:
        return subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            [str(java_executable()), own, *options, "-cp", class_path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            # Its own session: a Ctrl-C on the terminal is ours, and we stop it in good order.
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "CLASSPATH"},
        )


def end_of(output: Path) -> str:
    return output.read_text(errors="replace")[-2_000:].strip() or "it printed nothing"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Raise `LocalServerError` where something answers already."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise LocalServerError(
                f"port {port} is taken by another program: stop that, or name another port"
            )
