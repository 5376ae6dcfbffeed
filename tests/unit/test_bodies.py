"""Requests with bodies wait for a thread of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from fastapi import Request
from fastapi.responses import Response

from events.api.bodies import Bodies, in_thread
from events.api.problems import Busy


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
