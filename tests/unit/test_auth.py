"""What a route gets of its caller, on a store of keys in memory."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from events.api import problems
from events.api.security import CallerDep, allowed, guard
from events.auth.keyring import KeyRing
from events.auth.keys import ApiKey, Right
from events.config import Settings
from tests.support.factories import HOUR_ZERO
from tests.support.fakekeys import MemoryKeyStore, a_key

Answer = dict[str, list[str]]


class _WatchedStore(MemoryKeyStore):
    """A store that notes the threads in which it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def get(self, key_id: str) -> ApiKey | None:
        self.threads.append(threading.current_thread().name)
        return super().get(key_id)


class Subject(NamedTuple):
    """An app with one route, which reads its body itself and asks about each customer in it."""

    client: TestClient
    store: _WatchedStore
    #: One entry for each body that was read.
    bodies: list[bytes]

    def post(self, token: str | None, customers: str) -> tuple[int, object]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        response = self.client.post("/each", content=customers, headers=headers)
        answer = response.json()
        return response.status_code, answer.get("detail", answer)


def subject_with(settings: Settings, *, is_on: bool = True) -> Subject:
    store, bodies = _WatchedStore(), list[bytes]()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        key_ring = KeyRing(store, cache_seconds=60, now=lambda: HOUR_ZERO) if is_on else None
        with guard(app, settings, key_ring):
            yield

    app = FastAPI(lifespan=lifespan)
    problems.install(app)

    @app.post("/each", dependencies=[Depends(allowed(Right.INGEST, about="each"))])
    async def post_each(request: Request, caller: CallerDep) -> Answer:
        bodies.append(await request.body())
        customers = bodies[-1].decode().split()
        for customer_id in customers:
            caller.check(Right.INGEST, customer_id)
        return {"taken": customers}

    return Subject(TestClient(app), store, bodies)


@pytest.fixture
def subject() -> Subject:
    return subject_with(Settings(events_rate_per_key="2/hour"))


def test_a_route_may_ask_about_each_customer_that_it_meets(subject: Subject) -> None:
    token, key = a_key(rights=[Right.INGEST], customer_id="acme")
    subject.store.add(key)
    with subject.client:
        assert subject.post(token, "acme acme") == (200, {"taken": ["acme", "acme"]})
        status, detail = subject.post(token, "acme globex")
    assert (status, detail) == (
        403,
        "this API key is for one customer, and this is not about that one",
    )


def test_a_caller_is_told_once_for_each_request_however_often_it_is_asked_for(
    subject: Subject,
) -> None:
    token, key = a_key(rights=[Right.INGEST])
    subject.store.add(key)
    with subject.client:
        statuses = [subject.post(token, "acme")[0] for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_no_body_is_read_of_whoever_has_no_right(subject: Subject) -> None:
    token, key = a_key(rights=[Right.READ, Right.ADMIN])
    subject.store.add(key)
    with subject.client:
        statuses = [subject.post(each, "acme")[0] for each in (None, "garbage", token)]
    assert statuses == [401, 401, 403]
    assert subject.bodies == []


def test_the_store_is_asked_off_the_event_loop_and_only_where_the_cache_does_not_know(
    subject: Subject,
) -> None:
    token, key = a_key(rights=[Right.INGEST])
    subject.store.add(key)
    with subject.client:
        for each in (token, token, None, "garbage"):
            subject.post(each, "acme")
    assert subject.store.asked == [key.key_id]
    assert ["AnyIO worker thread" in name for name in subject.store.threads] == [True]


def test_where_keys_are_off_any_customer_may_be_named() -> None:
    subject = subject_with(Settings(), is_on=False)
    with subject.client:
        assert subject.post(None, "acme globex") == (200, {"taken": ["acme", "globex"]})
    assert subject.store.asked == []
