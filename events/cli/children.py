"""Commands that `demo` runs as processes of their own, and how they end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

#: A child that has not ended after this time is killed: Java servers may take 30 s.
_STOP_SECONDS = 60
_LOG_LINES = 15


class ChildDied(Exception):
    """A child ended by itself; the text has the end of its log."""


class Child(NamedTuple):
    """A running command. A service must run until it is stopped; others may end with 0."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    is_service: bool

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")


class Children:
    """A context manager that ends all that it has started: servers after the others."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._servers: list[Child] = []
        self._others: list[Child] = []

    def start(
        self, name: str, arguments: str, *, is_server: bool = False, is_service: bool = True
    ) -> Child:
        """Start Python with these arguments."""
        log = self._folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own commands, no shell
                [sys.executable, *arguments.split()],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # In a session of its own: Ctrl-C on the terminal reaches only us, and we stop it.
                start_new_session=True,
            )
        child = Child(name, process, log, is_service)
        (self._servers if is_server else self._others).append(child)
        return child

    def check(self) -> None:
        """Raise `ChildDied` if one did; servers first, because the others need them."""
        for child in (*self._servers, *self._others):
            code = child.process.poll()
            if code is not None and (code or child.is_service):
                end = "\n".join(child.text().splitlines()[-_LOG_LINES:]) or "(empty)"
                raise ChildDied(f"{child.name} exited with code {code}; {child.log} ends:\n{end}")

    def wait(self, is_so: Callable[[], object], seconds: float = float("inf")) -> bool:
        """Wait until a condition holds, and return whether it does; raises like `check`."""
        deadline = time.monotonic() + seconds
        while not is_so():
            self.check()
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.2)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            _end(self._others)
            _end(self._servers)
        except KeyboardInterrupt:  # a second signal ends everything at once
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            _end([*self._others, *self._servers])
            raise


def _end(children: Sequence[Child]) -> None:
    for child in children:
        child.process.terminate()
    for child in children:
        try:
            child.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
