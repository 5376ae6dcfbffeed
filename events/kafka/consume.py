"""One run of `consume`: build the consumer, serve its health, count the results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial

from events.config import Settings
from events.domain.retries import Backoff
from events.errors import StoreUnavailable
from events.kafka.bounds import read_ends, rewind_group
from events.kafka.clients import Cluster, check_topic, dead_letter_topic, ensure_topics, make_admin
from events.kafka.consumer import CountConsumer
from events.kafka.pipeline import Limits
from events.kafka.producer import ANY_LENGTH, MAX_BYTES, Sender
from events.models import Outcome
from events.service import EventService
from events.telemetry.health import Health

log = logging.getLogger(__name__)

#: The process counts as hung if the consumer's loop has not turned for so long.
_MAX_TURN_SECONDS = 120.0
_CREATE_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Consumed:
    """
    Messages of one run, by outcome. Messages without an outcome here are read again.

    `missing` messages were deleted before this run read them; they are lost to it.
    `has_left` is False if Kafka was away at the end: closing the client would wait for it.
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
    is_stopping: Callable[[], bool],
    serve: Callable[[Health], AbstractContextManager[object]],
    patience_seconds: float,
    is_until_end: bool = False,
    since: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 - a frozen value
) -> Consumed:
    """
    Count the messages of the topic until `is_stopping` returns True.

    Args:
        serve: Publishes the health while its context is open.
        patience_seconds: How long to finish when stopping.
        is_until_end: Stop at the ends that the partitions have at the start.
        since: Reset the group to this time first, as `rewind_group`; None continues where it is.

    Raises as `CountConsumer.run`.
    """
    begin = time.monotonic()
    cluster = Cluster.of(settings)
    topic, group = settings.events_kafka_topic, settings.events_kafka_group
    with ExitStack() as stack:
        # Events that are not in flight are read again: do not wait for them.
        stack.callback(service.drop_waiting)
        sender = Sender(cluster, patience_seconds=None, **ANY_LENGTH)
        stack.callback(sender.close, patience_seconds=0)
        consumer = CountConsumer(
            cluster,
            topic,
            group,
            submit=service.submit,
            sender=sender,
            limits=limits,
            max_bytes=MAX_BYTES,
        )
        health = Health(
            is_alive=lambda: time.monotonic() - consumer.turned_at < _MAX_TURN_SECONDS,
            problems=consumer.problems,
            checks={
                "store": service.check,
                "kafka": partial(check_topic, make_admin(cluster), topic),
            },
        )
        stack.enter_context(serve(health))

        def prepare() -> dict[int, int] | None:
            consumer.turned_at = time.monotonic()
            topics = (topic, dead_letter_topic(topic))
            ensure_topics(cluster, *topics, timeout_seconds=_CREATE_TIMEOUT_SECONDS)
            if since is not None:
                rewind_group(cluster, topic, group=group, since=since)
            return read_ends(cluster, topic, group=group) if is_until_end else None

        ends = _retry(
            prepare,
            is_stopping=is_stopping,
            patience_seconds=patience_seconds if is_until_end else None,
        )
        if not is_stopping():
            consumer.run(is_stopping=is_stopping, ends=ends, patience_seconds=patience_seconds)
    outcomes = consumer.pipeline.outcomes
    return Consumed(
        consumer.messages_read,
        outcomes[Outcome.INSERTED],
        outcomes[Outcome.DUPLICATE],
        outcomes[Outcome.VOIDED],
        consumer.pipeline.dead_letters,
        consumer.member.gaps.missing,
        time.monotonic() - begin,
        consumer.has_left,
    )


def _retry(
    prepare: Callable[[], dict[int, int] | None],
    *,
    is_stopping: Callable[[], bool],
    patience_seconds: float | None,
) -> dict[int, int] | None:
    """Call `prepare` until Kafka answers, and return its result; None if stopped before."""
    begin = time.monotonic()
    backoff = Backoff(base_seconds=0.2)
    is_logged = False
    while not is_stopping():
        try:
            return prepare()
        except StoreUnavailable as exc:
            now = time.monotonic()
            if patience_seconds is not None and now - begin > patience_seconds:
                raise
            if not is_logged:
                log.warning("waiting for Kafka: %s", exc)
            is_logged = True
            retry_at = now + backoff.next_wait()
            while time.monotonic() < retry_at and not is_stopping():
                time.sleep(0.05)
    return None
