"""A CSV input through the service: every line gets a receipt, memory stays flat."""

from __future__ import annotations

import csv
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType, TracebackType
from typing import Protocol, TextIO, TypeVar

from events.errors import InvalidInput
from events.ingest.csvrows import Numbered, Rejection
from events.ingest.writer import Ticket
from events.models import Event, Outcome

#: Rows read, then submitted, at a time.
_CHUNK_ROWS = 1_000
#: A slow input is handed on after this long, as soon as its next row comes.
_CHUNK_SECONDS = 1.0
#: Chunks read and not yet known to be stored: enough to fill transactions, and all the memory.
_MAX_CHUNKS_AHEAD = 20

EXIT_INTERRUPTED = 130

Records = Iterator[Numbered | Rejection]


class Sink(Protocol):
    """Where events go: the service, or Kafka."""

    def submit(self, events: Sequence[Event]) -> Ticket:
        """Begin to take events; the ticket gives the receipt of each."""

    def drop_waiting(self) -> None:
        """Do not send what is submitted and not under way yet; those tickets fail."""

    def drain(self) -> None:
        """Return when all that was submitted is answered."""


class Result(Protocol):
    """What became of the rows of one run."""

    read: int
    rejected: int
    seconds: float

    def add(self, outcomes: Mapping[Outcome | None, int]) -> None:
        """Count receipts; None is one that is not known."""

    def kinds(self) -> list[tuple[str, int]]:
        """What became of those that were taken."""


SomeResult = TypeVar("SomeResult", bound=Result)


class Interrupted(Exception):
    """The run was told to stop (Ctrl-C, SIGTERM); what was sent is stored and counted."""


class Interrupts:
    """
    Ctrl-C and SIGTERM while a run is under way; a context manager that puts the old ways back.

    The first one raises `Interrupted` where the run waits for input or the store, and elsewhere is
    kept until it next does: a submit that was cut in half would leave events that nobody waits
    for. The second one ends the program at once, which loses nothing either.
    """

    def __init__(self) -> None:
        self._is_stopping = False
        self._is_waiting = False
        self._old: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)  # type: ignore[arg-type] # as signal.signal returned it

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The block may be left at any point by `Interrupted`."""
        self._is_waiting = True
        try:
            self.check()
            yield
        finally:
            self._is_waiting = False

    @property
    def is_stopping(self) -> bool:
        """Whether the run was told to stop."""
        return self._is_stopping

    def check(self) -> None:
        """Raise `Interrupted` if the run was told to stop."""
        if self._is_stopping:
            raise Interrupted

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_stopping:
            os._exit(EXIT_INTERRUPTED)
        self._is_stopping = True
        if self._is_waiting:
            raise Interrupted


class RejectsFile:
    """
    The rejected lines as CSV: line number, reason, raw row. It replaces one of an earlier run
    when it is complete, and is there after a run only if something was rejected.

    Args:
        path: Where it is written.
        source: The file that is read, which it must not be.

    Raises:
        InvalidInput: It cannot be written there; nothing has been read then.
    """

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.count = 0
        if path.exists() and Path(source).exists() and path.samefile(source):
            raise InvalidInput(f"{path}: is the file to read itself: name another with --rejects")
        # Under a name of its own, so that two runs do not write over each other. What is no plain
        # file, such as /dev/null, is written as it is, and stays.
        self._is_plain = path.is_file() or not path.exists()
        self._written = path
        if self._is_plain:
            self._written = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self._file: TextIO = self._written.open("w", encoding="utf-8", newline="")
        except OSError as exc:
            raise InvalidInput(
                f"{path}: the file for rejected rows cannot be written ({exc.strerror}): name "
                "another with --rejects"
            ) from exc
        self._rows = csv.writer(self._file, lineterminator="\n")
        # The csv module does not quote a carriage return by itself, and reads it as a line's end.
        self._quoted_rows = csv.writer(self._file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._rows.writerow(("line", "reason", "row"))

    def add(self, rejection: Rejection) -> None:
        self.count += 1
        rows = self._quoted_rows if "\r" in rejection.row else self._rows
        with self._writing():
            rows.writerow(rejection)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise InvalidInput(
                f"{self.path}: rejected rows cannot be written there ({exc.strerror}): make room, "
                "or name another with --rejects"
            ) from exc

    def __enter__(self) -> RejectsFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._writing():
            self._file.close()
            if self._is_plain and self.count:
                self._written.replace(self.path)
            elif self._is_plain:
                self._written.unlink()
                self.path.unlink(missing_ok=True)


def ingest_records(
    records: Records,
    sink: Sink | None,
    *,
    interrupts: Interrupts,
    on_rejection: Callable[[Rejection], None],
    on_progress: Callable[[SomeResult], None],
    result: SomeResult,
) -> None:
    """
    Store and count the events of an input.

    Args:
        records: As `read_records` gives them.
        sink: None only reads and checks.
        on_rejection: Called for each rejected line, in order.
        on_progress: Called after each chunk that is read, and each that is stored.
        result: Filled as the run goes, so that it is right after an error too: it counts as taken
            what is known to be.

    Raises:
        InvalidInput: Reading stopped before the end; what came before is stored and counted.
        Interrupted: What was sent is stored and counted, the rest was not sent.
        StoreUnavailable: Some events may not be stored; the same run again is safe.
        StoreRefused: The store will not take some of them.
    """
    begin = time.monotonic()
    ahead: deque[Ticket] = deque()
    problem: InvalidInput | Interrupted | None = None
    is_more = True
    try:
        while is_more:
            chunk: list[Numbered | Rejection] = []
            until = time.monotonic() + _CHUNK_SECONDS
            try:
                with interrupts.waiting():
                    for record in islice(records, _CHUNK_ROWS):
                        chunk.append(record)  # what came before an error is kept
                        if time.monotonic() > until:
                            break
                    else:
                        is_more = len(chunk) == _CHUNK_ROWS
            except (InvalidInput, Interrupted) as exc:
                problem = exc
                is_more = False
            events = []
            for record in chunk:
                if isinstance(record, Rejection):
                    on_rejection(record)
                else:
                    events.append(record[1])
            result.read += len(chunk)
            result.rejected += len(chunk) - len(events)
            if isinstance(problem, Interrupted):
                # Read, and not stored: the result says so.
                break
            if sink is not None:
                ahead.append(sink.submit(events))
                while len(ahead) > (_MAX_CHUNKS_AHEAD if is_more else 0):
                    with interrupts.waiting():
                        ahead[0].wait()
                    result.add(Counter(ahead.popleft().outcomes))
                    result.seconds = time.monotonic() - begin
                    on_progress(result)
            result.seconds = time.monotonic() - begin
            on_progress(result)
    finally:
        if ahead and sink is not None:
            sink.drop_waiting()
            sink.drain()
            for ticket in ahead:
                result.add(Counter(ticket.outcomes))
        result.seconds = time.monotonic() - begin
    if problem is not None:
        raise problem
