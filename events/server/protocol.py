"""
HTTP on one connection, with timeouts for clients that stall.

uvicorn has a timeout only for idle connections. Without these, a client that sends a head byte by
byte, or reads its answer slowly, holds a connection forever. uvicorn has no public way to add
them: tests/unit/test_protocol.py names the uvicorn version for which they are tested.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from events.api.middleware import SECURITY_HEADERS
from events.api.problems import problem


class TimeoutProtocol(H11Protocol):
    """Aborts a connection that stalls while it sends a head or a body, or reads an answer."""

    #: From the connection's start, or from the first byte of a later head, to the head's end.
    head_seconds: ClassVar[float] = 10
    #: For the rest of a body after the answer was sent without reading it (401, 413, …).
    unread_body_seconds: ClassVar[float] = 5
    #: While the client does not read its answer.
    write_seconds: ClassVar[float] = 30

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        super().connection_made(transport)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._start("head", self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop(*self._timers)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.SEND_BODY:
            self._stop("body")
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._start("body", self.unread_body_seconds)
        self._watch_head()  # what arrived in the meantime may be part of the next head

    def _watch_head(self) -> None:
        # h11 is idle between requests; data that it has not consumed is an incomplete head.
        if self.conn.their_state is not h11.IDLE or not self.conn.trailing_data[0]:
            self._stop("head")
        elif "head" not in self._timers:
            self._unset_keepalive_if_required()
            self._start("head", self.head_seconds)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start("write", self.write_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop("write")

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._start("write", self.write_seconds)  # closing waits until the last answer is read

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with the body of every other error."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # the answer to the previous request is on its way
            return
        if self.cycle is not None:  # the application must not wait for the rest of the body
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        answer = problem(HTTPStatus.BAD_REQUEST, f"{msg} Its head may be too long.")
        answer.headers.update({**SECURITY_HEADERS, "Connection": "close"})
        head = h11.Response(status_code=400, headers=answer.raw_headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _start(self, name: str, seconds: float) -> None:
        self._stop(name)
        self._timers[name] = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self, *names: str) -> None:
        for name in names:
            if timer := self._timers.pop(name, None):
                timer.cancel()
