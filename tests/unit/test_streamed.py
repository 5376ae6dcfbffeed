"""Answers that are sent while they are made: whole, or seen to be cut off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from starlette.types import Message

from events.api.responses import Streamed
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
    return [(each["body"], each["more_body"]) for each in messages[1:]]


def test_an_answer_ends_with_its_end() -> None:
    assert sent(iter([b"a", b"b"])) == [(b"a", True), (b"b", True), (b"", False)]


def test_an_answer_whose_store_fails_has_no_end_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise StoreUnavailable("it is gone")

    assert sent(pieces()) == [(b"a", True)]
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert record.getMessage() == "answer cut off: StoreUnavailable: it is gone"
    assert record.exc_info is None
