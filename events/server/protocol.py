"""HTTP on one connection, as uvicorn speaks it, without patience for clients that stall."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from events.api.middleware import SECURITY_HEADERS
from events.api.problems import problem


class ImpatientProtocol(H11Protocol):
    """
    Closes a connection whose client neither sends a head nor takes its answer in time.

    A head's time begins with the connection, and on one that is kept with the head's first byte;
    a connection that idles between two requests is uvicorn's to close. The time of a body is the
    application's.
    """

    head_timeout_seconds: ClassVar[float] = 10
    #: For the rest of a body that was answered without reading it (401, 413, …); it is dropped.
    unread_body_timeout_seconds: ClassVar[float] = 5
    #: While what is ready of an answer cannot be sent on.
    stall_timeout_seconds: ClassVar[float] = 30

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_timeout_seconds, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_head_timer()
        self._end_stall_timer()
        self._end_unread_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.SEND_BODY:
            self._end_unread_timer()
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and self._unread_timer is None:
            # No data ends this time: whoever goes on sending what nobody wants is cut off.
            self._unread_timer = self.loop.call_later(
                self.unread_body_timeout_seconds, self._give_up
            )
        # What came while the answer was made may be the begin of the next head.
        self._watch_head()

    def _watch_head(self) -> None:
        # Between requests h11 is idle; what it was given and has made nothing of is part of a head.
        is_part_there = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if not is_part_there:
            self._end_head_timer()
        elif self._head_timer is None:
            # uvicorn begins to wait for the next request anew with every byte of it.
            self._unset_keepalive_if_required()
            self._head_timer = self.loop.call_later(self.head_timeout_seconds, self._give_up)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.stall_timeout_seconds, self._give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_stall_timer()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # Closing waits until the last answer is taken.
        self._end_stall_timer()
        self._stall_timer = self.loop.call_later(self.stall_timeout_seconds, self._give_up)

    def _end_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _end_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _give_up(self) -> None:
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - as uvicorn calls it
        """What is no HTTP gets an answer like all others, if it can get one."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            # The answer to what came before is under way.
            self.transport.close()
            return
        if self.cycle is not None:
            # An application that still reads the body of this request is told that it is gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        answer = problem(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request, or its head is long")
        headers = [
            *((name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()),
            *answer.raw_headers,
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
