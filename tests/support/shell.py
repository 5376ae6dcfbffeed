"""Commands as a user runs them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

CHECKOUT = Path(__file__).parents[2]
INGEST = CHECKOUT / "ingest_events_from_file.py"
SAMPLE = CHECKOUT / "resources" / "events.csv"
HEADER = "customer_id,event_type,transaction_id,timestamp\n"
TIMEOUT_SECONDS = 60.0
#: Where a runtime or an unpacked DynamoDB Local lies is not for these tests to choose.
_KEPT = ("PATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "DYNAMODB_LOCAL_HOME")

#: Runs a command whose standard output is on a disk that is full.
ON_FULL_DISK = (
    "import subprocess, sys\n"
    "with open('/dev/full', 'wb') as out:\n"
    "    sys.exit(subprocess.run([sys.executable, *sys.argv[1:]], stdout=out).returncode)\n"
)
needs_full_disk = pytest.mark.skipif(
    not Path("/dev/full").is_char_device(), reason="there is no /dev/full"
)


class Ran(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str


class Command:
    """A command under way. Its output goes to files: it never waits for somebody to read it."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def signal(self, number: int) -> None:
        assert self.process.poll() is None, f"it ended too soon: {self.out}{self.err}"
        if number == signal.SIGINT:  # Ctrl-C on a terminal reaches the whole group
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def ended(self, timeout_seconds: float = TIMEOUT_SECONDS) -> Ran:
        """Wait for its end. Whatever happened, a user must not see a traceback."""
        code = self.process.wait(timeout_seconds)
        ran = Ran(code, self.out, self.err)
        assert "Traceback" not in ran.out + ran.err, ran.out + ran.err
        return ran

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """End it and what it started, whatever state they are in."""
        processes: list[psutil.Process] = []
        if self.process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                processes = self.children()
            self.process.kill()
        self.process.wait()
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.kill()


class Shell:
    """
    Runs commands in a folder of their own, with an environment that holds nothing of this machine.

    Args:
        settings: Environment variables beside `PATH`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.settings = dict(settings)
        self._notes = folder.with_name(f"{folder.name}.output")
        self._notes.mkdir()
        folder.mkdir()
        self._commands: list[Command] = []

    def start(
        self,
        *arguments: str | Path,
        stdin: int = subprocess.DEVNULL,
        terminal: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Command:
        """
        Start Python with these arguments.

        Args:
            terminal: Where standard error goes instead of its file.
            settings: Added to those of this shell.
        """
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        out, err = (self._notes / f"{len(self._commands)}.{name}" for name in ("out", "err"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=self.folder,
                # What a killed program leaves behind goes with the folder of the test.
                env={
                    **kept,
                    "PYTHONPATH": str(CHECKOUT),
                    "TMPDIR": str(self._notes),
                    **self.settings,
                    **(settings or {}),
                },
                stdin=stdin,
                start_new_session=True,
                stdout=out_file,
                stderr=err_file if terminal is None else terminal,
            )
        command = Command(process, out, err)
        self._commands.append(command)
        return command

    def run(
        self,
        *arguments: str | Path,
        stdin: bytes | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run Python with these arguments to its end."""
        if stdin is None:
            return self.start(*arguments, settings=settings).ended()
        command = self.start(*arguments, settings=settings, stdin=subprocess.PIPE)
        command.process.communicate(stdin, TIMEOUT_SECONDS)
        return command.ended()

    def write(self, name: str, content: str | bytes) -> Path:
        """Put a file into the folder of the commands."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def end(self) -> None:
        for command in self._commands:
            command.end()


def until(is_so: Callable[[], object], *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Return once something is so; it is asked often, and not so often that it slows the rest."""
    deadline = time.monotonic() + timeout_seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {timeout_seconds:g} s"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether anything listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
