"""Run commands as a user runs them: in this process, or in one of their own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import psutil
import pytest

import ingest_events_from_file
import sample_api_requests
from events.cli import main as events_main
from events.local.javaserver import free_port, is_open

__all__ = ["free_port", "is_open"]

CHECKOUT = Path(__file__).parents[2]
INGEST = CHECKOUT / "ingest_events_from_file.py"
SAMPLE_REQUESTS = CHECKOUT / "sample_api_requests.py"
SAMPLE = CHECKOUT / "resources" / "events.csv"
HEADER = "customer_id,event_type,transaction_id,timestamp\n"
#: For a machine that does much else: waiting longer costs nothing where all is well.
TIMEOUT_SECONDS = 240.0
#: Environment variables of this machine that commands keep.
_KEPT = ("PATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "DYNAMODB_LOCAL_HOME", "EVENTS_LOCAL_ENGINE")

#: Runs a command whose standard output is on a full disk.
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
    """A running process. Its output goes to files, so that it never waits for a reader."""

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
        assert self.process.poll() is None, f"ended too early: {self.out}{self.err}"
        if number == signal.SIGINT:  # Ctrl-C on a terminal reaches the whole process group
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, text: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Wait until standard error has a text; fails if the command ends before."""
        until(lambda: text in self.err or not self.is_running(), timeout_seconds=timeout_seconds)
        assert text in self.err, f"ended without {text!r}: {self.out}{self.err}"

    def ended(self, timeout_seconds: float = TIMEOUT_SECONDS) -> Ran:
        """Wait for the end of the command. A user must never see a traceback."""
        code = self.process.wait(timeout_seconds)
        return _without_traceback(Ran(code, self.out, self.err))

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """Kill the command and its children, whatever their state."""
        processes: list[psutil.Process] = []
        if self.process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                processes = self.children()
            self.process.kill()
        self.process.wait()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _without_traceback(ran: Ran) -> Ran:
    assert "Traceback" not in ran.out + ran.err, ran.out + ran.err
    return ran


class Shell:
    """
    Runs commands in a folder of their own, with nothing of this machine in their environment.

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

    def call(
        self,
        program: str | Path,
        *arguments: str | Path,
        stdin: bytes = b"",
        settings: Mapping[str, str] | None = None,
    ) -> Ran:
        """
        Run a command in this process, to its end.

        Args:
            program: `INGEST`, `SAMPLE_REQUESTS`, or `-m` with `events` or `examples.billing` as the
                first argument.
            settings: Added to those of this shell.
        """
        main, texts = _main_of(program, [str(argument) for argument in arguments])
        out, err = _captured(), _captured()
        with (
            mock.patch.dict(os.environ, self._environment(settings), clear=True),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
            chdir(self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                code = main(texts)
            except SystemExit as exc:  # argparse
                code = int(exc.code or 0)
        return _without_traceback(Ran(code, _text(out), _text(err)))

    def run(
        self,
        *arguments: str | Path,
        stdin: bytes | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run Python with these arguments in a process of its own, to its end."""
        if stdin is None:
            return self.start(*arguments, settings=settings).ended()
        command = self.start(*arguments, settings=settings, stdin=subprocess.PIPE)
        command.process.communicate(stdin, TIMEOUT_SECONDS)
        return command.ended()

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
        out, err = (self._notes / f"{len(self._commands)}.{name}" for name in ("out", "err"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=self.folder,
                env=self._environment(settings),
                stdin=stdin,
                start_new_session=True,
                stdout=out_file,
                stderr=err_file if terminal is None else terminal,
            )
        command = Command(process, out, err)
        self._commands.append(command)
        return command

    def _environment(self, settings: Mapping[str, str] | None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {
            **kept,
            "PYTHONPATH": str(CHECKOUT),
            # What a killed program leaves behind goes with the folder of the test.
            "TMPDIR": str(self._notes),
            **self.settings,
            **(settings or {}),
        }

    def write(self, name: str, content: str | bytes) -> Path:
        """Put a file into the folder of the commands."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def names(self) -> list[str]:
        """The files and folders beside the commands, ascending."""
        return sorted(path.name for path in self.folder.iterdir())

    def end(self) -> None:
        for command in self._commands:
            command.end()


def _main_of(
    program: str | Path, arguments: list[str]
) -> tuple[Callable[[Sequence[str]], int], list[str]]:
    if program == INGEST:
        return ingest_events_from_file.main, arguments
    if program == SAMPLE_REQUESTS:
        return sample_api_requests.main, arguments
    assert program == "-m"
    if arguments[0] == "examples.billing":
        # Imported here: not all tests have its packages.
        from examples.billing.cli import main

        return main, arguments[1:]
    assert arguments[0] == "events"
    return events_main.main, arguments[1:]


def _captured() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(captured: io.TextIOWrapper) -> str:
    captured.seek(0)
    return captured.read()


def until(
    is_so: Callable[[], object],
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    every_seconds: float = 0.02,
) -> None:
    """Return once a condition holds; fail after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        begin = time.monotonic()
        if is_so():
            return
        now = time.monotonic()
        assert now < deadline, f"not so within {timeout_seconds:g} s"
        # A condition that takes long, such as a new connection, does not keep the machine busy.
        time.sleep(max(every_seconds, now - begin))
