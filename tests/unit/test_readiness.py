"""Health checks: shared, bounded in time, and harmless while a store hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from events.app import create_app
from events.config import Settings
from events.errors import StoreRefused, StoreUnavailable
from events.telemetry.health import Readiness
from tests.support.served import client_of


class HangingCheck:
    """A check that hangs until it is released."""

    def __init__(self) -> None:
        self.calls = 0
        self.released = threading.Event()

    def __call__(self) -> None:
        self.calls += 1
        assert self.released.wait(60)


@pytest.fixture
def hanging() -> Iterator[HangingCheck]:
    check = HangingCheck()
    yield check
    check.released.set()
    for each in threading.enumerate():
        if each.name == "readiness":
            each.join(5)


def test_health_checks_at_the_same_time_share_one_check(hanging: HangingCheck) -> None:
    async def probe() -> None:
        readiness = Readiness(hanging, timeout_seconds=60)
        waiting = [asyncio.create_task(readiness.wait()) for _ in range(50)]
        await asyncio.sleep(0.05)
        hanging.released.set()
        await asyncio.gather(*waiting)
        assert hanging.calls == 1
        await readiness.wait()

    asyncio.run(probe())
    assert hanging.calls == 2, "an old result is not reused"


def test_health_checks_of_a_hanging_store_time_out_and_hold_one_thread(
    hanging: HangingCheck,
) -> None:
    async def probe() -> list[object]:
        readiness = Readiness(hanging, timeout_seconds=0.1)
        answers: list[object] = []
        for _ in range(3):
            waiting = [readiness.wait() for _ in range(20)]
            answers += await asyncio.gather(*waiting, return_exceptions=True)
        return answers

    answers = asyncio.run(probe())
    assert [type(item) for item in answers] == [StoreUnavailable] * 60
    checking = [thread for thread in threading.enumerate() if thread.name == "readiness"]
    assert (hanging.calls, len(checking)) == (1, 1)


def test_a_cancelled_caller_does_not_cancel_the_others(hanging: HangingCheck) -> None:
    async def probe() -> None:
        readiness = Readiness(hanging, timeout_seconds=60)
        gone, stays = (asyncio.create_task(readiness.wait()) for _ in range(2))
        await asyncio.sleep(0.05)
        gone.cancel()
        hanging.released.set()
        await stays

    asyncio.run(probe())


def test_the_error_of_the_check_is_raised() -> None:
    def refuse() -> None:
        raise StoreRefused("no rights")

    with pytest.raises(StoreRefused, match="no rights"):
        asyncio.run(Readiness(refuse).wait())


def test_a_stopping_server_is_alive_but_not_ready() -> None:
    app: FastAPI = create_app(Settings())
    client = client_of(app)
    app.state.is_stopping = True
    ready, live = client.get("/readyz"), client.get("/livez")
    assert (ready.status_code, ready.headers["retry-after"], live.status_code) == (503, "1", 200)
    assert ready.json() == {
        "type": "urn:events:problem:the-server-is-stopping",
        "title": "The server is stopping",
        "status": 503,
        "detail": "the server is stopping: send requests to another server",
        "errors": [],
    }
