"""Messages to batches to the store: several under way, none given up; knows nothing of Kafka."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from events.errors import EventsError, InvalidEvent, StoreRefused, StoreUnavailable
from events.ingest.writer import Ticket
from events.kafka import measures
from events.kafka.backoff import Backoff
from events.kafka.messages import Message, decode
from events.kafka.offsets import Offsets, Place
from events.models import Event, Outcome

log = logging.getLogger(__name__)

#: Batches handed to the store at a time; each has events for many transactions.
_MOST_FLYING = 16
#: An event is at fault itself when the store refused it alone this often, and took others between.
_STRIKES = 2
#: An event that was taken this long ago may be sent again, to see whether the store takes any.
_FRESH_SECONDS = 60.0
_SAID_AFTER = 1.0


class Waiting(Enum):
    """Why the store takes nothing."""

    UNAVAILABLE = "the store does not answer"
    REFUSED = "the store refuses what it is sent: rights or a table may be missing"


class _Entry(NamedTuple):
    place: Place
    message: Message
    event: Event


@dataclass(slots=True)
class _Part:
    """Events that are handed to the store together."""

    entries: Sequence[_Entry]
    submitted_at: float = 0.0
    refused_at: float = 0.0
    #: It was handed over while the store took others: what it refuses then may be at fault.
    is_trusted: bool = False
    strikes: int = 0
    ticket: Ticket | None = None


class Pipeline:
    """
    What was read and is not done yet. One thread uses it.

    A message is done (`Place.done`) when its event is durable and counted, or when the letter
    about it is acknowledged; until then it is held here and tried again, without an end.

    What the store refuses is told apart like this. A batch that is refused is halved until the
    refused events are alone. Such an event is at fault itself if the store refused it twice and
    both times took another event after that; then it becomes a dead letter. Where the store takes
    nothing at all, no event is at fault: all wait, as for a store that is away. Where there is no
    other event to compare with, one that was taken within the last minute is sent again; where
    there is none of these either, the refused one waits, and nothing waits for it.

    Args:
        submit: `EventService.submit`.
        send_letter: Sends the letter about a message, and calls back once it is acknowledged.
    """

    def __init__(
        self,
        submit: Callable[[Sequence[Event]], Ticket],
        send_letter: Callable[[Message, InvalidEvent, Callable[[], None]], None],
        offsets: Offsets,
        *,
        batch_events: int,
        batch_seconds: float,
        max_message_bytes: int,
        backoff: Backoff | None = None,
    ) -> None:
        self._submit = submit
        self._send_letter = send_letter
        self._offsets = offsets
        self._batch_events = batch_events
        self._batch_seconds = batch_seconds
        self._max_message_bytes = max_message_bytes
        self._backoff = backoff or Backoff()
        self._filling: list[_Entry] = []
        self._filling_since = 0.0
        self._ready: deque[_Part] = deque()
        self._flying: list[_Part] = []
        #: Events that the store refused alone.
        self._suspects: list[_Part] = []
        #: When the last part was handed over of which the store took something.
        self._taken_submitted_at = -1.0
        self._taken: Event | None = None
        self._taken_at = 0.0
        self._waiting_since = 0.0
        self._retry_at = 0.0
        self._measured_at: float | None = None
        self._why = ""
        self._said: Waiting | None = None
        self.waiting: Waiting | None = None
        self.bytes = 0
        #: Receipts of what is counted for good.
        self.outcomes: Counter[Outcome] = Counter()
        self.dead_letters = 0

    @property
    def is_busy(self) -> bool:
        """Whether there is anything under way, so that `step` should be called soon."""
        return bool(self._filling or self._ready or self._flying or self._suspects)

    def waiting_seconds(self, now: float) -> float:
        """How long the store has been taking nothing."""
        return now - self._waiting_since if self.waiting else 0.0

    def take(self, message: Message, now: float) -> None:
        """Hold a message until it is done; one that is not ours is not."""
        place = self._offsets.take(message.partition, message.offset)
        if place is None:
            return
        measures.MESSAGES.labels(str(message.partition)).inc()
        self.bytes += message.size
        try:
            event = decode(message, max_bytes=self._max_message_bytes)
        except InvalidEvent as exc:
            self._bury(place, message, exc)
            return
        if not self._filling:
            self._filling_since = now
        self._filling.append(_Entry(place, message, event))
        if len(self._filling) >= self._batch_events:
            self._fill(now)

    def step(self, now: float) -> None:
        """Look at what the store has done, and hand over what is next; never waits."""
        if self._filling and now - self._filling_since >= self._batch_seconds:
            self._fill(now)
        done = [part for part in self._flying if part.ticket is not None and part.ticket.is_done()]
        if done:
            self._flying = [part for part in self._flying if part not in done]
            for part in done:
                self._finish(part, now)
        self._judge_suspects()
        if self.waiting is None:
            while self._ready and len(self._flying) < _MOST_FLYING:
                self._hand_over(self._ready.popleft(), now)
        elif not self._flying and now >= self._retry_at:
            self._probe(now)
        self._say(now)
        self._measure(now)

    def flush(self, now: float) -> None:
        """Fill no batch any more: what is held goes, however little it is."""
        if self._filling:
            self._fill(now)

    def forget_dropped(self) -> None:
        """
        Hold nothing more of partitions that were dropped: they are another's now.

        What the store was handed already it may store, which is what the other does as well.
        """
        self._filling = self._ours(self._filling)
        for part in (*self._ready, *self._suspects):
            part.entries = self._ours(part.entries)
        self._ready = deque(part for part in self._ready if part.entries)
        self._suspects = [part for part in self._suspects if part.entries]

    def _ours(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """Those that are ours still; nothing more is done about the others."""
        kept = []
        for entry in entries:
            if entry.place.is_ours:
                kept.append(entry)
            else:
                self.bytes -= entry.message.size
        return kept

    def _fill(self, now: float) -> None:
        measures.BATCH_EVENTS.observe(len(self._filling))
        if self.waiting is Waiting.REFUSED and not self._ready:
            # Here comes what a lone suspect waits for.
            self._retry_at = now
        self._ready.append(_Part(self._filling))
        self._filling = []

    def _hand_over(self, part: _Part, now: float) -> None:
        part.submitted_at = now
        part.is_trusted |= self.waiting is None
        part.ticket = self._submit([entry.event for entry in part.entries])
        self._flying.append(part)

    def _probe(self, now: float) -> None:
        """While the store takes nothing, one part at a time is tried, each in its turn."""
        if self._ready:
            self._hand_over(self._ready.popleft(), now)
        elif self._suspects and self._taken and now - self._taken_at < _FRESH_SECONDS:
            # Nothing else is there to compare with: one that was taken, which is a duplicate now.
            self._flying.append(_Part((), submitted_at=now, ticket=self._submit([self._taken])))
        elif self._suspects:
            self._hand_over(self._suspects.pop(0), now)

    def _finish(self, part: _Part, now: float) -> None:
        """Settle what the store took of a part, and keep the rest."""
        assert part.ticket is not None  # noqa: S101 - it was handed over
        error: EventsError | None = None
        try:
            part.ticket.wait(0)
        except (StoreUnavailable, StoreRefused) as exc:
            error = exc
        left = []
        # One that is sent again to compare with has no entry.
        for entry, outcome in zip(part.entries, part.ticket.outcomes, strict=False):
            if outcome is None:
                left.append(entry)
            else:
                self._taken, self._taken_at = entry.event, now
                self._settle(entry.place, entry.message)
                self.outcomes[outcome] += 1
                measures.SETTLED.labels("counted").inc()
        part.ticket = None
        if error is None or len(left) < len(part.entries):
            self._taken_submitted_at = max(self._taken_submitted_at, part.submitted_at)
        if error is None:
            if part.submitted_at >= self._waiting_since:
                self._go_on()
            return
        is_refused = isinstance(error, StoreRefused)
        self._wait(Waiting.REFUSED if is_refused else Waiting.UNAVAILABLE, error, now)
        if not (left := self._ours(left)):
            return
        if not is_refused:
            self._ready.appendleft(_Part(left, strikes=part.strikes))
        elif len(left) == 1:
            suspect = _Part(left, refused_at=now, is_trusted=part.is_trusted, strikes=part.strikes)
            self._suspects.append(suspect)
        else:
            # At the end: a half that the store takes comes before the halves of one it does not.
            middle = len(left) // 2
            self._ready += [_Part(left[:middle]), _Part(left[middle:])]

    def _judge_suspects(self) -> None:
        """Try again, or give up, what was refused before the store took another event."""
        remaining = []
        for part in self._suspects:
            if self._taken_submitted_at <= part.refused_at:
                remaining.append(part)
                continue
            part.strikes += part.is_trusted
            part.is_trusted = False
            if part.strikes < _STRIKES:
                self._ready.append(part)
                continue
            (entry,) = part.entries
            reason = "the store refuses this event, and takes others"
            self._bury(entry.place, entry.message, InvalidEvent(None, reason))
        self._suspects = remaining

    def _bury(self, place: Place, message: Message, error: InvalidEvent) -> None:
        def acknowledged() -> None:
            self._settle(place, message)
            self.dead_letters += 1
            measures.SETTLED.labels("dead_letter").inc()

        self._send_letter(message, error, acknowledged)

    def _settle(self, place: Place, message: Message) -> None:
        self.bytes -= message.size
        place.done()

    def _wait(self, why: Waiting, error: EventsError, now: float) -> None:
        if self.waiting is None:
            self._waiting_since = now
        self.waiting = why
        self._why = f"{why.value} ({error})"
        self._retry_at = self._backoff.next_at(now)

    def _go_on(self) -> None:
        if self._said is not None:
            log.info("the store takes events again")
        self.waiting = self._said = None
        self._backoff.reset()

    def _say(self, now: float) -> None:
        """Once for each state, when it lasts: one event at fault is no state of the store's."""
        if self.waiting not in (None, self._said) and self.waiting_seconds(now) > _SAID_AFTER:
            log.warning("nothing is lost, and it is tried again until it works: %s", self._why)
            self._said = self.waiting

    def _measure(self, now: float) -> None:
        if self.waiting and self._measured_at is not None:
            measures.STORE_WAITING.inc(now - self._measured_at)
        self._measured_at = now
        measures.OPEN.set(self._offsets.open)
        measures.OPEN_BYTES.set(self.bytes)
        measures.IS_WAITING.labels("store").set(self.waiting is not None)
