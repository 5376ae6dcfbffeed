"""Where `POST /events` puts events: the store, or Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Annotated, Protocol

from fastapi import Depends, Request

from events.config import Settings
from events.errors import InvalidInput
from events.models import Event, Outcome
from events.service import EventService
from events.stream import check_installed


class Sink(Protocol):
    """Takes events, and says what became of each."""

    def ingest(
        self, events: Sequence[Event], *, timeout_seconds: float | None = None
    ) -> list[Outcome]:
        """
        The outcome of each, in order, once all are durable.

        Raises:
            StoreUnavailable: Some may not be; the same call again is safe.
            StoreRefused: Some never will be.
        """

    def check(self) -> None:
        """Raises an error of ours where it is not well."""


def check_sink(settings: Settings) -> None:
    """
    Whether the sink that is set can take every request that the limits allow.

    Raises:
        InvalidInput: What it needs is not installed, or its queue is shorter than a request may
            be: that one would be answered 503 however often it came.
    """
    if settings.events_ingest != "kafka":
        return
    check_installed()
    if settings.events_kafka_max_messages < settings.events_max_events_per_request:
        raise InvalidInput(
            f"EVENTS_KAFKA_MAX_MESSAGES is {settings.events_kafka_max_messages:,}, and a request "
            f"may have {settings.events_max_events_per_request:,} events "
            "(EVENTS_MAX_EVENTS_PER_REQUEST): set it to as many at least"
        )
    # A message has an event's own key as well: that is never twice the event in a body.
    if settings.events_kafka_max_bytes < 2 * settings.events_max_body_bytes:
        raise InvalidInput(
            f"EVENTS_KAFKA_MAX_BYTES is {settings.events_kafka_max_bytes:,}, and a body may have "
            f"{settings.events_max_body_bytes:,} bytes (EVENTS_MAX_BODY_BYTES): set it to twice "
            "as many at least"
        )


@contextmanager
def opened_sink(settings: Settings, service: EventService) -> Iterator[Sink]:
    """The sink that is set; closed at the end, but for the service."""
    if settings.events_ingest == "store":
        yield service
        return
    # Here, because it is not installed where nothing needs Kafka.
    from events.stream.producer import KafkaSink

    patience_seconds = settings.events_store_patience_seconds
    with closing(KafkaSink(settings, patience_seconds=patience_seconds)) as sink:
        yield sink


async def get_sink(request: Request) -> Sink:
    """The sink of this app."""
    sink: Sink = request.app.state.sink
    return sink


SinkDep = Annotated[Sink, Depends(get_sink)]
