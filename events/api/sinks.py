"""Where `POST /events` puts events: the store, or Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Annotated, Protocol

from fastapi import Depends, Request

from events.config import Settings
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
    """Raises `InvalidInput` where what the sink needs is not installed."""
    if settings.events_ingest == "kafka":
        check_installed()


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
