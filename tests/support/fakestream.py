"""A pipeline of the count consumer on a fake store, driven by a test's clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from events.domain.retries import Backoff
from events.errors import EventsError, InvalidEvent, StoreRefused, StoreUnavailable
from events.ingest.writer import PendingReceipts
from events.kafka.messages import Message, encode
from events.kafka.offsets import Offsets
from events.kafka.pipeline import Limits, Pipeline
from events.models import Event, Outcome


def message_of(event: Event, offset: int, *, partition: int = 0) -> Message:
    record = encode(event, "events")
    return Message("events", partition, offset, None, record.key, record.value)


def messages_of(events: Iterable[Event]) -> list[Message]:
    """Messages with the offsets 0, 1, …"""
    return [message_of(event, offset) for offset, event in enumerate(events)]


@dataclass
class FakeStore:
    """
    Accepts events in their order, up to the first that it does not accept.

    Args:
        poison: Events that it refuses while it accepts all others.
        mood: `well`, `away` (answers nothing), or `refusing` (refuses everything).
        is_slow: Answers only when `work` is called.
    """

    poison: Collection[Event] = ()
    mood: str = "well"
    is_slow: bool = False
    accepted: list[Event] = field(default_factory=list)
    submitted: list[list[Event]] = field(default_factory=list)
    waiting: list[tuple[list[Event], PendingReceipts]] = field(default_factory=list)

    def submit(self, events: Sequence[Event]) -> PendingReceipts:
        receipts = PendingReceipts(len(events))
        self.submitted.append(list(events))
        self.waiting.append((list(events), receipts))
        if not self.is_slow:
            self.work()
        return receipts

    def work(self) -> None:
        """Answer the waiting submissions."""
        for events, receipts in self.waiting:
            for index, event in enumerate(events):
                if error := self._error_for(event):
                    receipts.fail(error)
                    break
                outcome = Outcome.DUPLICATE if event in self.accepted else Outcome.INSERTED
                self.accepted.append(event)
                receipts.settle(index, outcome)
        self.waiting.clear()

    def _error_for(self, event: Event) -> EventsError | None:
        if self.mood == "away":
            return StoreUnavailable("away")
        if self.mood == "refusing" or event in self.poison:
            return StoreRefused("refused")
        return None


@dataclass
class Run:
    """A pipeline on partition 0; its dead letters are acknowledged unless a test says otherwise."""

    store: FakeStore
    batch_events: int = 4
    batch_seconds: float = 1.0
    now: float = 100.0
    are_letters_acknowledged: bool = True
    letters: list[tuple[Message, str]] = field(default_factory=list)
    unacknowledged: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.offsets = Offsets()
        self.offsets.assign(0)
        self.pipeline = Pipeline(
            self.store.submit,
            self._send_dead_letter,
            self.offsets,
            Limits(self.batch_events, self.batch_seconds, max_message_bytes=1_000),
            backoff=Backoff(jitter=lambda: 1.0),
        )

    def _send_dead_letter(
        self, message: Message, error: InvalidEvent, on_acknowledged: Callable[[], None]
    ) -> None:
        self.letters.append((message, str(error)))
        self.unacknowledged.append(on_acknowledged)

    def add(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.pipeline.add(message, self.now)

    def steps(self, number: int, *, seconds: float = 0.5) -> None:
        for _ in range(number):
            self.now += seconds
            if self.are_letters_acknowledged:
                self.acknowledge()
            self.pipeline.step(self.now)

    def acknowledge(self) -> None:
        for on_acknowledged in self.unacknowledged:
            on_acknowledged()
        self.unacknowledged.clear()

    @property
    def due(self) -> int | None:
        """The offset to commit."""
        return self.offsets.uncommitted().get(0)
