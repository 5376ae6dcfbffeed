"""Ctrl-C and SIGTERM during a command that must end in good order."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_EXIT_CODE = 128 + signal.SIGINT
_SHOW_CURSOR = "\x1b[?25h"


class Interrupted(Exception):
    """The run was stopped by Ctrl-C or SIGTERM; everything that was sent is stored and counted."""


class Interrupts:
    """
    The signal policy of every command that finishes its work when it is stopped.

    The first Ctrl-C or SIGTERM raises `Interrupted` inside `waiting()`, where the run waits for
    input or for the store. Elsewhere the signal is kept until the next `waiting()` or `check()`: a
    submit that was cut in half would leave events whose receipts nobody reads. The second signal
    ends the process at once, which loses nothing either: every transaction is atomic.

    A context manager; on exit the previous signal handlers are restored.

    Args:
        on_stop: Called once, from the signal handler, at the first signal.
    """

    def __init__(self, on_stop: Callable[[], None] = lambda: None) -> None:
        self._on_stop = on_stop
        #: Whether a signal has arrived.
        self.is_stopping = False
        self._is_waiting = False
        self._old_handlers: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old_handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, old in self._old_handlers.items():
            signal.signal(number, old)  # type: ignore[arg-type] # as signal.signal returned it

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A block that the first signal may leave at any point, by `Interrupted`."""
        self._is_waiting = True
        try:
            self.check()
            yield
        finally:
            self._is_waiting = False

    def check(self) -> None:
        """Raise `Interrupted` if a signal has arrived."""
        if self.is_stopping:
            raise Interrupted

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_stopping:
            if sys.stderr is not None and sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())  # the progress bar hides it
            os._exit(_EXIT_CODE)
        self.is_stopping = True
        self._on_stop()
        if self._is_waiting:
            raise Interrupted
