"""What routes get from the application, and the check that every request passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Request

from events.api.problems import InvalidRequest
from events.config import Settings
from events.ingest.load import Sink
from events.service import EventService

#: Query parameters that may be repeated; `mark` is in links to the dashboard.
_REPEATABLE = frozenset({"event_type", "customer_id", "subject", "groupBy", "mark"})


def from_state(name: str) -> Callable[[Request], Awaitable[Any]]:
    """
    A dependency on the value `app.state.<name>`.

    It is `async def` so that it never waits for a thread: FastAPI runs `def` dependencies in the
    thread pool, whose threads may all be waiting for the store.
    """

    async def get(request: Request) -> Any:
        return getattr(request.app.state, name)

    return get


ServiceDep = Annotated[EventService, Depends(from_state("service"))]
SettingsDep = Annotated[Settings, Depends(from_state("settings"))]
SinkDep = Annotated[Sink, Depends(from_state("sink"))]


async def check_request(request: Request) -> None:
    """
    Refuse requests that the framework would misread.

    The framework takes the last value of a repeated parameter, and replaces bytes that are not
    UTF-8 with U+FFFD, which would ask about another customer.

    Raises:
        InvalidRequest: A parameter is repeated, or the path or query is not valid UTF-8.
    """
    for part, name in (("raw_path", "path"), ("query_string", "query")):
        try:
            unquote_to_bytes(request.scope[part]).decode()
        except UnicodeDecodeError as exc:
            raise InvalidRequest(name, "is not valid UTF-8") from exc
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1 and name not in _REPEATABLE:
            raise InvalidRequest(name, f"is given {times} times: give it once")


# --- counts that leave out late events ------------------------------------------------------------

_WINDOWED = "Events-Counts"
#: The header in the OpenAPI description.
WINDOWED_HEADER: dict[str, Any] = {
    _WINDOWED: {
        "description": "Only if `EVENTS_COUNTS` is `windowed`: events more than this many "
        "seconds older than the newest event are not counted.",
        "schema": {"type": "string"},
        "example": "windowed; watermark=86400",
    }
}


def windowed_headers(settings: Settings) -> dict[str, str]:
    """The header that says which late events are not counted; empty if counts are exact."""
    if settings.events_counts == "exact":
        return {}
    return {_WINDOWED: f"windowed; watermark={settings.events_watermark_seconds}"}
