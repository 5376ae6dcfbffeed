"""Answers that are sent while they are made."""

from __future__ import annotations

import logging

from fastapi.responses import StreamingResponse
from starlette.types import Send

from events.errors import EventsError

log = logging.getLogger(__name__)


class Streamed(StreamingResponse):
    """An answer that, where the store fails on the way, breaks off: its end is never sent."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except EventsError as exc:
            # The status is sent and cannot be taken back. The server closes the connection, which
            # tells the caller that something is lacking.
            log.error("an answer was cut off: %s: %s", type(exc).__name__, exc)
