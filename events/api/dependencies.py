"""What routes get from the application, and the check that every request passes."""

from __future__ import annotations

from collections import Counter
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Request

from events.api.problems import InvalidRequest
from events.config import Settings
from events.ingest.load import Sink
from events.service import EventService

#: Query parameters that may be repeated.
_REPEATABLE = frozenset({"event_type"})


# FastAPI runs `def` dependencies in the thread pool, whose threads may all be waiting for the
# store. These are `async def` so that they never wait for a thread.


async def get_service(request: Request) -> EventService:
    service: EventService = request.app.state.service
    return service


async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def get_sink(request: Request) -> Sink:
    sink: Sink = request.app.state.sink
    return sink


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


ServiceDep = Annotated[EventService, Depends(get_service)]
SettingsDep = Annotated[Settings, Depends(get_settings)]
SinkDep = Annotated[Sink, Depends(get_sink)]
