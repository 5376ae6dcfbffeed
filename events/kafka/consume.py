"""One run of the count consumer: its parts put together, its state shown, its sum at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from events.config import INGEST_PATIENCE_SECONDS, Settings
from events.errors import StoreUnavailable
from events.kafka import admin as groups
from events.kafka.backoff import Backoff
from events.kafka.clients import dead_letter_topic, ensure_topics
from events.kafka.consumer import CountConsumer
from events.kafka.health import TopicCheck
from events.kafka.letters import Letters
from events.kafka.offsets import Offsets
from events.kafka.pipeline import Pipeline
from events.kafka.sender import ANY_LENGTH, Sender
from events.kafka.status import Checks, Problems, served
from events.models import Outcome
from events.service import EventService

log = logging.getLogger(__name__)

#: A loop that has not turned for so long hangs.
_LONGEST_TURN_SECONDS = 120.0
#: Events in one batch.
BATCH_EVENTS = 500
#: How long a batch waits to fill.
_BATCH_SECONDS = 0.2
#: Messages that are read but not yet committed; then the partitions are paused.
MAX_MESSAGES = 10_000
#: Larger messages go to the dead-letter topic unparsed. The longest valid event takes 8,192 bytes.
_MAX_MESSAGE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Consumed:
    """
    What became of the messages of one run; what is in none of these comes again.

    `missing` is how many offsets the topic no longer had when this run came to them: they do not
    come again.
    `has_left` is False where Kafka was away at the end: the client then waits for it, and with it
    whoever lets go of the client.
    """

    read: int
    inserted: int
    duplicates: int
    voided: int
    dead_letters: int
    missing: int
    seconds: float
    has_left: bool


def consume(
    settings: Settings,
    service: EventService,
    *,
    address: tuple[str, int],
    is_stopping: Callable[[], bool],
    is_until_end: bool = False,
    is_from_beginning: bool = False,
    patience_seconds: float = INGEST_PATIENCE_SECONDS,
    batch_events: int = BATCH_EVENTS,
    max_messages: int = MAX_MESSAGES,
    on_address: Callable[[str, int], None] = lambda _host, _port: None,
) -> Consumed:
    """
    Count what is in the topic, until told to stop.

    Args:
        address: Host and port of the status page; port 0 takes a free one.
        is_stopping: Asked at all times.
        is_until_end: Stop at the ends that the partitions had when it began.
        is_from_beginning: Put the group back to the beginning first.
        patience_seconds: With `is_until_end`, how long to retry a store or broker that fails.
        batch_events: Maximum events per batch.
        max_messages: Maximum messages that are read but not yet committed.
        on_address: Called with the host and port of the status page.

    Raises:
        InvalidInput: The group has members, or the port is taken.
        StoreUnavailable, StoreRefused: With `is_until_end`, for as long as the patience of an
            ingest.
    """
    begin = time.monotonic()
    with ExitStack() as opened:
        # What was handed over and is not under way comes again: nobody waits for it.
        opened.callback(service.drop_waiting)
        sender = Sender(settings, patience_seconds=None, **ANY_LENGTH)
        opened.callback(sender.close, patience_seconds=0)
        offsets = Offsets()
        letters = Letters(sender, dead_letter_topic(settings))
        pipeline = Pipeline(
            service.submit,
            letters.send,
            offsets,
            batch_events=batch_events,
            batch_seconds=_BATCH_SECONDS,
            max_message_bytes=_MAX_MESSAGE_BYTES,
        )
        consumer = CountConsumer(settings, pipeline, offsets, letters, max_messages=max_messages)
        is_topic_there = TopicCheck(settings, settings.events_kafka_topic)
        checks = Checks({"store": service.check, "kafka": is_topic_there})
        opened.callback(checks.close)
        state = consumer.state

        def problems() -> Problems:
            if state.is_stopping:
                return {"consumer": "is stopping"}
            found = {} if letters.problem is None else {"dead_letters": "are not taken"}
            if state.kafka_problem:
                found["kafka"] = state.kafka_problem
            if state.store_problem:
                found["store"] = state.store_problem
            return checks.problems() | found

        def is_alive() -> bool:
            return time.monotonic() - state.turned_at < _LONGEST_TURN_SECONDS

        host, port = address
        port = opened.enter_context(served(host, port, is_alive=is_alive, problems=problems))
        on_address(host, port)

        def prepare() -> dict[int, int] | None:
            topic, group = settings.events_kafka_topic, settings.events_kafka_group
            ensure_topics(settings, topic, dead_letter_topic(settings), timeout_seconds=2)
            if is_from_beginning:
                groups.rewind(settings, topic, group)
            return groups.ends(settings, topic) if is_until_end else None

        ends = _once_kafka_answers(
            prepare,
            is_stopping=is_stopping,
            on_turn=state.turn,
            patience_seconds=patience_seconds if is_until_end else None,
        )
        if not is_stopping():
            consumer.run(is_stopping=is_stopping, ends=ends, patience_seconds=patience_seconds)
    outcomes = pipeline.outcomes
    return Consumed(
        consumer.read,
        outcomes[Outcome.INSERTED],
        outcomes[Outcome.DUPLICATE],
        outcomes[Outcome.VOIDED],
        pipeline.dead_letters,
        consumer.gaps.missing,
        time.monotonic() - begin,
        consumer.has_left,
    )


def _once_kafka_answers(
    prepare: Callable[[], dict[int, int] | None],
    *,
    is_stopping: Callable[[], bool],
    on_turn: Callable[[], None],
    patience_seconds: float | None,
) -> dict[int, int] | None:
    """What `prepare` returns, tried until it can be; None when told to stop before."""
    begin = time.monotonic()
    backoff = Backoff(base_seconds=0.2)
    is_said = False
    while not is_stopping():
        on_turn()
        try:
            return prepare()
        except StoreUnavailable as exc:
            now = time.monotonic()
            if patience_seconds is not None and now - begin > patience_seconds:
                raise
            if not is_said:
                log.warning("waiting for Kafka: %s", exc)
            is_said = True
            retry_at = backoff.next_at(now)
            while time.monotonic() < retry_at and not is_stopping():
                time.sleep(0.05)
    return None
