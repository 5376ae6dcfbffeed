"""A store that takes tickets as it is told to, and a pipeline on it with a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from events.errors import EventsError, InvalidEvent, StoreRefused, StoreUnavailable
from events.ingest.writer import Ticket
from events.kafka.backoff import Backoff
from events.kafka.messages import Message, encode
from events.kafka.offsets import Offsets
from events.kafka.pipeline import Pipeline
from events.models import Event, Outcome


def message_of(event: Event, offset: int, *, partition: int = 0) -> Message:
    record = encode(event, "events")
    return Message("events", partition, offset, None, record.key, record.value)


@dataclass
class FakeStore:
    """
    Takes events in their order, up to the first that it does not.

    Args:
        poison: Refused while all others are taken.
        mood: `well`, `away` (takes nothing), or `refusing` (refuses everything).
    """

    poison: Collection[Event] = ()
    mood: str = "well"
    is_slow: bool = False
    taken: list[Event] = field(default_factory=list)
    submitted: list[list[Event]] = field(default_factory=list)
    waiting: list[tuple[list[Event], Ticket]] = field(default_factory=list)

    def submit(self, events: Sequence[Event]) -> Ticket:
        ticket = Ticket(len(events))
        self.submitted.append(list(events))
        self.waiting.append((list(events), ticket))
        if not self.is_slow:
            self.work()
        return ticket

    def work(self) -> None:
        """Answer what waits."""
        for events, ticket in self.waiting:
            for place, event in enumerate(events):
                if error := self._why_not(event):
                    ticket.fail(error)
                    break
                outcome = Outcome.DUPLICATE if event in self.taken else Outcome.INSERTED
                self.taken.append(event)
                ticket.settle(place, outcome)
        self.waiting.clear()

    def _why_not(self, event: Event) -> EventsError | None:
        if self.mood == "away":
            return StoreUnavailable("away")
        if self.mood == "refusing" or event in self.poison:
            return StoreRefused("refused")
        return None


@dataclass
class Run:
    """A pipeline that reads partition 0, and whose letters are acknowledged when told to."""

    store: FakeStore
    batch_events: int = 4
    batch_seconds: float = 1.0
    now: float = 100.0
    are_letters_taken: bool = True
    letters: list[tuple[Message, str]] = field(default_factory=list)
    unacknowledged: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.offsets = Offsets()
        self.offsets.assign(0)
        self.pipeline = Pipeline(
            self.store.submit,
            self._send_letter,
            self.offsets,
            batch_events=self.batch_events,
            batch_seconds=self.batch_seconds,
            max_message_bytes=1_000,
            backoff=Backoff(draw=lambda: 1.0),
        )

    def _send_letter(
        self, message: Message, error: InvalidEvent, acknowledged: Callable[[], None]
    ) -> None:
        self.letters.append((message, str(error)))
        self.unacknowledged.append(acknowledged)

    def take(self, messages: Iterable[Message]) -> None:
        for each in messages:
            self.pipeline.take(each, self.now)

    def steps(self, number: int, *, seconds: float = 0.5) -> None:
        for _ in range(number):
            self.now += seconds
            if self.are_letters_taken:
                self.acknowledge()
            self.pipeline.step(self.now)

    def acknowledge(self) -> None:
        for each in self.unacknowledged:
            each()
        self.unacknowledged.clear()

    @property
    def due(self) -> int | None:
        """The offset to commit."""
        return self.offsets.uncommitted().get(0)
