"""Streamed answers are whole, or visibly cut off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from starlette.types import Message

from events.api.counts import Streamed
from events.errors import StoreUnavailable


def sent(pieces: Iterator[bytes]) -> list[tuple[bytes, bool]]:
    """Each part of a body as it is sent, and whether more follows."""
    messages: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}}
    asyncio.run(Streamed(pieces)(scope, receive, send))
    assert messages[0]["type"] == "http.response.start"
    return [(message["body"], message["more_body"]) for message in messages[1:]]


def test_a_whole_answer_has_an_end() -> None:
    assert sent(iter([b"a", b"b"])) == [(b"a", True), (b"b", True), (b"", False)]


def test_an_answer_is_cut_off_if_the_store_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise StoreUnavailable("it is gone")

    assert sent(pieces()) == [(b"a", True)]
    (record,) = (entry for entry in caplog.records if entry.levelno == logging.ERROR)
    assert record.getMessage() == "answer cut off: StoreUnavailable: it is gone"
    assert record.exc_info is None
