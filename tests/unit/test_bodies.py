"""What is read of a body is let go of at once: of documents in memory there are only a few."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import cast

import pytest
from fastapi import Request
from fastapi.responses import Response

from events.api.bodies import Bodies, in_thread
from events.api.problems import Busy, InvalidRequest
from events.api.taken import take_correction, take_events
from events.errors import EventsError

REQUEST = Request({"type": "http", "headers": []})
#: An object with a field twice is of a class of ours, which unlike a dictionary can be watched.
TWICE = '{"a": 1, "a": 2}'


def read(text: str, take: Callable[[object], object]) -> object:
    return Bodies(4_194_304).read(REQUEST, text.encode(), take)


def watching(
    seen: list[weakref.ref[object]], take: Callable[[object], object]
) -> Callable[[object], object]:
    """`take`, and what of the document can be watched goes into `seen`."""

    def watched(document: object) -> object:
        assert isinstance(document, dict)
        each = document["events"][0] if "events" in document else document
        seen.append(weakref.ref(each))
        return take(document)

    return watched


def test_receipts_of_rejected_events_do_not_keep_the_document() -> None:
    seen: list[weakref.ref[object]] = []
    taken = read(f'{{"events": [{TWICE}]}}', watching(seen, lambda each: take_events(each, 1_000)))
    (reference,) = seen
    assert (repr(taken), reference()) == (
        "Parsed(events=[], rejections=[(0, InvalidEvent('a: is given twice'))], customers=set())",
        None,
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TWICE, "a: is given twice"),
        (f'{{"events": [{TWICE}]}}', "reason: is missing"),
        (f'{{"events": [{TWICE}], "reason": ""}}', "reason: is empty"),
        (f'{{"events": [{TWICE}, 1], "reason": "r"}}', "a request may have 1 events"),
    ],
)
def test_a_refusal_does_not_keep_the_document_however_long_its_answer_takes(
    text: str, why: str
) -> None:
    seen: list[weakref.ref[object]] = []
    with pytest.raises(EventsError, match=why) as refused:
        read(text, watching(seen, lambda each: take_correction(each, 1)))
    (reference,) = seen
    assert (refused.value.__context__, refused.value.__cause__, reference()) == (None, None, None)


def test_a_refusal_of_what_is_no_json_says_where() -> None:
    with pytest.raises(InvalidRequest, match=r"body: is no JSON: .* at line 1, column 2"):
        read("{", lambda document: document)


def test_a_request_whose_turn_never_came_is_told_to_come_again() -> None:
    bodies = Bodies(4_194_304)
    bodies.threads.total_tokens = 1
    app = SimpleNamespace(state=SimpleNamespace(bodies=bodies))
    request = cast("Request", SimpleNamespace(app=app))
    lefts: list[float] = []

    def slow(left: float) -> Response:
        lefts.append(left)
        time.sleep(0.3)
        return Response("done")

    async def main() -> Sequence[Response | BaseException]:
        first = asyncio.create_task(in_thread(request, slow, patience_seconds=5))
        await asyncio.sleep(0.05)
        return await asyncio.gather(
            first,
            in_thread(request, slow, patience_seconds=0.1),
            in_thread(request, slow, patience_seconds=5),
            return_exceptions=True,
        )

    first, second, third = asyncio.run(main())
    assert isinstance(second, Busy)
    assert (type(first), type(third)) == (Response, Response)
    assert 4.9 < lefts[0] <= 5
    assert 4 < lefts[1] < 4.8
