"""What routes get from the application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import Depends, Request

from events.models import Event, Outcome


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


async def get_sink(request: Request) -> Sink:
    """The sink of this app."""
    sink: Sink = request.app.state.sink
    return sink


SinkDep = Annotated[Sink, Depends(get_sink)]
