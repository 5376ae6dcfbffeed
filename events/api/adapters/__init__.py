"""
Routes of other services' APIs, so that their clients work here with another base URL.

The clients decide what an answer must be: see docs/clients.md.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from events.api.bodies import Bodies, BodiesDep
from events.api.dependencies import SettingsDep, SinkDep
from events.api.payloads import Parsed
from events.api.problems import InvalidRequest
from events.api.routes.ingest import MAX_EVENTS, patience_of, rejections_of
from events.api.security import CallerDep
from events.auth.keyring import Caller
from events.auth.keys import Right
from events.config import Settings
from events.errors import InvalidEvent, TooManyRequests
from events.ingest.load import Sink
from events.telemetry import metrics

#: The clients ignore a longer `Retry-After` and try again within seconds.
MAX_RETRY_AFTER_SECONDS = 60


class AdapterRoute(APIRoute):
    """A route whose answers have a `Retry-After` of at most a minute."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_limited(request: Request) -> Response:
            try:
                return await handle(request)
            except TooManyRequests as exc:
                seconds = min(exc.retry_after_seconds, MAX_RETRY_AFTER_SECONDS)
                raise TooManyRequests(str(exc), seconds) from exc

        return handle_limited


class Ingest:
    """Stores the events of a request; the clients take 207 for success, so it never answers 207."""

    def __init__(
        self,
        request: Request,
        sink: SinkDep,
        settings: SettingsDep,
        bodies: BodiesDep,
        caller: CallerDep,
    ) -> None:
        self._request = request
        self._sink: Sink = sink
        self._settings: Settings = settings
        self._bodies: Bodies = bodies
        self._caller: Caller = caller

    async def run(
        self, body: bytes, parse: Callable[[bytes, int], Parsed], answer: Callable[[], Response]
    ) -> Response:
        """
        Store the valid events, and answer 400 if others are rejected.

        Args:
            answer: Makes the answer if no event is rejected.
        """

        def work(seconds: float) -> Response:
            parsed = self._bodies.read(self._request, body, lambda text: parse(text, MAX_EVENTS))
            self._caller.check_each(Right.INGEST, parsed.customers)
            if parsed.events:
                events = [event for _, event in parsed.events]
                self._sink.ingest(events, timeout_seconds=seconds)
            rejected, stored = len(parsed.rejections), len(parsed.events)
            if not rejected:
                return answer()
            metrics.EVENTS.labels("rejected").inc(rejected)
            detail = f"{rejected:,} of {rejected + stored:,} events rejected: see errors. "
            detail += "The others are stored; sending them again is safe." if stored else ""
            return rejections_of(parsed, detail.strip())

        return await self._bodies.in_thread(work, patience_seconds=patience_of(self._settings))


IngestDep = Annotated[Ingest, Depends()]


def check_names(field: str, names: Iterable[str], check: Callable[[str], str]) -> list[str]:
    """The distinct ids or types of a request, ascending; raises `InvalidRequest`."""
    try:
        return sorted({check(name) for name in names})
    except InvalidEvent as exc:
        raise InvalidRequest(field, exc.reason) from exc
