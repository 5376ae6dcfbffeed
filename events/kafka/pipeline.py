"""Send messages to the store in batches, and retry until each is settled; independent of Kafka."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from events.domain.retries import Backoff
from events.errors import EventsError, InvalidEvent, StoreRefused, StoreUnavailable
from events.ingest.writer import PendingReceipts
from events.kafka import metrics
from events.kafka.messages import Message, decode
from events.kafka.offsets import Offsets, OpenOffset
from events.models import Event, Outcome

log = logging.getLogger(__name__)

#: Batches in flight; each has events for many transactions.
_MAX_IN_FLIGHT = 16
#: The store refused an event this often, and accepted other events in between: dead letter.
_MAX_STRIKES = 2
#: An event that was accepted so recently may be sent again, to see whether the store accepts any.
_FRESH_SECONDS = 60.0
#: A wait is logged only if it lasts longer.
_LOG_AFTER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a consumer batches and holds."""

    #: A batch goes to the store at so many events or this age.
    batch_events: int = 500
    batch_seconds: float = 0.2
    #: Reading pauses while so many messages are unsettled.
    max_messages: int = 10_000
    #: Longer messages become dead letters without being parsed.
    max_message_bytes: int = 65_536


class Waiting(Enum):
    """Why the store accepts nothing."""

    UNAVAILABLE = "the store does not answer"
    REFUSED = "the store refuses all events: check its permissions and tables"


class _Entry(NamedTuple):
    offset: OpenOffset
    message: Message
    event: Event


@dataclass(slots=True)
class _Batch:
    """Events that are submitted together."""

    entries: Sequence[_Entry]
    submitted_at: float = 0.0
    refused_at: float = 0.0
    #: Whether it was submitted while the store accepted others: then a refusal is its own fault.
    is_fair_trial: bool = False
    strikes: int = 0


@dataclass(eq=False)
class Pipeline:
    """
    The messages that were read and are not settled. One thread uses it.

    A message is settled (`OpenOffset.settle`) when its event is durable and counted, or when its
    dead letter is acknowledged. Until then the pipeline holds the message and retries forever.

    If the store refuses a batch, the batch is halved until each refused event is alone (a suspect).
    A suspect becomes a dead letter if the store refused it twice and accepted another event after
    each refusal. If the store accepts nothing at all, no event is at fault: all wait. If there is
    no other event to compare with, one that was accepted within the last minute is sent again,
    which changes nothing. Without one, the suspect waits for the next message, and blocks none.
    """

    submit: Callable[[Sequence[Event]], PendingReceipts]
    send_dead_letter: Callable[[Message, InvalidEvent, Callable[[], None]], None]
    offsets: Offsets
    limits: Limits
    backoff: Backoff = field(default_factory=Backoff)
    #: Why the store accepts nothing; None while it accepts events.
    waiting: Waiting | None = field(default=None, init=False)
    #: Of the messages that are not settled.
    bytes: int = field(default=0, init=False)
    dead_letters: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        #: Receipts of the events that are durable and counted.
        self.outcomes: Counter[Outcome] = Counter()
        self._filling: list[_Entry] = []
        self._filling_since = 0.0
        self._ready: deque[_Batch] = deque()
        self._in_flight: list[tuple[_Batch, PendingReceipts]] = []
        #: Batches of one event that the store refused.
        self._suspects: list[_Batch] = []
        #: Submission time of the newest batch of which the store accepted something.
        self._accepted_submitted_at = -1.0
        self._accepted: Event | None = None
        self._accepted_at = 0.0
        self._waiting_since = 0.0
        self._retry_at = 0.0
        self._measured_at: float | None = None
        self._problem = ""
        self._logged: Waiting | None = None

    @property
    def is_busy(self) -> bool:
        """Whether anything is unsettled, so that `step` should be called soon."""
        return bool(self._filling or self._ready or self._in_flight or self._suspects)

    def waiting_seconds(self, now: float) -> float:
        """How long the store has accepted nothing."""
        return now - self._waiting_since if self.waiting else 0.0

    def add(self, message: Message, now: float) -> None:
        """Hold a message until it is settled. Messages of partitions we lost are ignored."""
        offset = self.offsets.read(message.partition, message.offset)
        if offset is None:
            return
        metrics.MESSAGES.labels(str(message.partition)).inc()
        self.bytes += message.size
        try:
            event = decode(message, max_bytes=self.limits.max_message_bytes)
        except InvalidEvent as exc:
            self._bury(offset, message, exc)
            return
        if not self._filling:
            self._filling_since = now
        self._filling.append(_Entry(offset, message, event))
        if len(self._filling) >= self.limits.batch_events:
            self.flush(now)

    def step(self, now: float) -> None:
        """Take the store's receipts, and submit what is due; never blocks."""
        if self._filling and now - self._filling_since >= self.limits.batch_seconds:
            self.flush(now)
        in_flight, self._in_flight = self._in_flight, []
        for batch, receipts in in_flight:
            if receipts.is_done():
                self._finish(batch, receipts, now)
            else:
                self._in_flight.append((batch, receipts))
        self._judge_suspects()
        if self.waiting is None:
            while self._ready and len(self._in_flight) < _MAX_IN_FLIGHT:
                self._submit_batch(self._ready.popleft(), now)
        elif not self._in_flight and now >= self._retry_at:
            self._probe(now)
        self._log(now)
        self._measure(now)

    def flush(self, now: float) -> None:
        """Close the batch that is being filled, however small it is."""
        if not self._filling:
            return
        metrics.BATCH_EVENTS.observe(len(self._filling))
        if self.waiting is Waiting.REFUSED and not self._ready:
            self._retry_at = now  # a suspect may wait for exactly these events
        self._ready.append(_Batch(self._filling))
        self._filling = []

    def forget_dropped(self) -> None:
        """
        Forget the messages of partitions that now belong to another consumer.

        The store may still store what is in flight; the new owner stores the same events.
        """
        self._filling = self._keep_ours(self._filling)
        for batch in (*self._ready, *self._suspects):
            batch.entries = self._keep_ours(batch.entries)
        self._ready = deque(batch for batch in self._ready if batch.entries)
        self._suspects = [batch for batch in self._suspects if batch.entries]

    def _keep_ours(self, entries: Sequence[_Entry]) -> list[_Entry]:
        ours = [entry for entry in entries if entry.offset.is_ours]
        self.bytes -= sum(entry.message.size for entry in entries if not entry.offset.is_ours)
        return ours

    def _submit_batch(self, batch: _Batch, now: float) -> None:
        batch.submitted_at = now
        batch.is_fair_trial |= self.waiting is None
        receipts = self.submit([entry.event for entry in batch.entries])
        self._in_flight.append((batch, receipts))

    def _probe(self, now: float) -> None:
        """While the store accepts nothing, try one batch at a time, each in its turn."""
        if self._ready:
            self._submit_batch(self._ready.popleft(), now)
        elif self._suspects and self._accepted and now - self._accepted_at < _FRESH_SECONDS:
            # Nothing else to compare with: resend an accepted event; it is a duplicate now.
            receipts = self.submit([self._accepted])
            self._in_flight.append((_Batch((), submitted_at=now), receipts))
        elif self._suspects:
            self._submit_batch(self._suspects.pop(0), now)

    def _finish(self, batch: _Batch, receipts: PendingReceipts, now: float) -> None:
        """Settle the events that the store accepted, and keep the others."""
        error: EventsError | None = None
        try:
            receipts.wait(0)
        except (StoreUnavailable, StoreRefused) as exc:
            error = exc
        rest = []
        # A batch that `_probe` sent to compare with has no entries.
        for entry, outcome in zip(batch.entries, receipts.outcomes, strict=False):
            if outcome is None:
                rest.append(entry)
            else:
                self._accepted, self._accepted_at = entry.event, now
                self._settle(entry.offset, entry.message)
                self.outcomes[outcome] += 1
                metrics.SETTLED.labels("counted").inc()
        if error is None or len(rest) < len(batch.entries):
            self._accepted_submitted_at = max(self._accepted_submitted_at, batch.submitted_at)
        if error is None:
            if batch.submitted_at >= self._waiting_since:
                self._resume()
            return
        is_refused = isinstance(error, StoreRefused)
        self._wait(Waiting.REFUSED if is_refused else Waiting.UNAVAILABLE, error, now)
        if not (rest := self._keep_ours(rest)):
            return
        if not is_refused:
            self._ready.appendleft(_Batch(rest, strikes=batch.strikes))
        elif len(rest) == 1:
            batch.entries, batch.refused_at = rest, now
            self._suspects.append(batch)
        else:
            # At the end of the queue: other batches first, one of which the store may accept.
            middle = len(rest) // 2
            self._ready += [_Batch(rest[:middle]), _Batch(rest[middle:])]

    def _judge_suspects(self) -> None:
        """Retry suspects or give them up, if the store has accepted another event since."""
        remaining = []
        for batch in self._suspects:
            if self._accepted_submitted_at <= batch.refused_at:
                remaining.append(batch)
                continue
            batch.strikes += batch.is_fair_trial
            batch.is_fair_trial = False
            if batch.strikes < _MAX_STRIKES:
                self._ready.append(batch)
                continue
            (entry,) = batch.entries
            reason = "the store refuses this event but accepts others"
            self._bury(entry.offset, entry.message, InvalidEvent(None, reason))
        self._suspects = remaining

    def _bury(self, offset: OpenOffset, message: Message, error: InvalidEvent) -> None:
        def on_acknowledged() -> None:
            self._settle(offset, message)
            self.dead_letters += 1
            metrics.SETTLED.labels("dead_letter").inc()

        self.send_dead_letter(message, error, on_acknowledged)

    def _settle(self, offset: OpenOffset, message: Message) -> None:
        self.bytes -= message.size
        offset.settle()

    def _wait(self, waiting: Waiting, error: EventsError, now: float) -> None:
        if self.waiting is None:
            self._waiting_since = now
        self.waiting = waiting
        self._problem = f"{waiting.value} ({error})"
        self._retry_at = now + self.backoff.next_wait()

    def _resume(self) -> None:
        if self._logged is not None:
            log.info("the store accepts events again")
        self.waiting = self._logged = None
        self.backoff.reset()

    def _log(self, now: float) -> None:
        """Log a wait once; not if it is short, since a single bad event also starts one."""
        is_new = self.waiting not in (None, self._logged)
        if is_new and self.waiting_seconds(now) > _LOG_AFTER_SECONDS:
            log.warning("retrying until the store accepts events, none is lost: %s", self._problem)
            self._logged = self.waiting

    def _measure(self, now: float) -> None:
        if self.waiting and self._measured_at is not None:
            metrics.STORE_WAITING.inc(now - self._measured_at)
        self._measured_at = now
        metrics.OPEN.set(self.offsets.open)
        metrics.OPEN_BYTES.set(self.bytes)
        metrics.IS_WAITING.labels("store").set(self.waiting is not None)
