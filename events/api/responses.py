"""The formats of an answer, and streamed answers."""

from __future__ import annotations

import logging
from typing import Any, Literal

from fastapi.responses import StreamingResponse
from starlette.types import Send

from events.config import Settings
from events.errors import EventsError

log = logging.getLogger(__name__)

Format = Literal["json", "csv", "jsonl", "parquet"]

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
_FORMAT_OF: dict[str, Format] = {
    "application/json": "json",
    "*/*": "json",
    "application/jsonl": "jsonl",
    **{media_type: name for name, media_type in MEDIA_TYPES.items()},
}
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


def preferred(accept: str) -> Format:
    """The first media type of an `Accept` header that this API writes; weights are ignored."""
    for media_range in accept.lower().split(","):
        media_type = media_range.partition(";")[0].strip()
        if media_type in _FORMAT_OF:
            return _FORMAT_OF[media_type]
    return "json"


def windowed_headers(settings: Settings) -> dict[str, str]:
    """The header that says which late events are not counted; empty if counts are exact."""
    if settings.events_counts == "exact":
        return {}
    return {_WINDOWED: f"windowed; watermark={settings.events_watermark_seconds}"}


class Streamed(StreamingResponse):
    """An answer that is cut off, without its end, if the store fails while it is sent."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except EventsError as exc:
            # The status 200 is sent already. The server closes the connection without the end of
            # the body, so the caller knows that the answer is incomplete.
            log.error("answer cut off: %s: %s", type(exc).__name__, exc)
