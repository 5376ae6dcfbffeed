"""What a route learns about its caller, with API keys in memory."""

from __future__ import annotations

import threading
from typing import NamedTuple

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from events.api import problems
from events.api.security import CallerDep, RateLimits, allowed
from events.auth.keyring import KeyRing
from events.auth.keys import ApiKey, Right
from tests.support.factories import HOUR_ZERO
from tests.support.fakekeys import MemoryKeyStore, a_key

Answer = dict[str, list[str]]


class _WatchedStore(MemoryKeyStore):
    """A store that records the threads in which it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def get(self, key_id: str) -> ApiKey | None:
        self.threads.append(threading.current_thread().name)
        return super().get(key_id)


class Subject(NamedTuple):
    """An app with one route, which reads its body itself and checks each customer in it."""

    client: TestClient
    store: _WatchedStore
    #: One entry for each body that was read.
    bodies: list[bytes]

    def post(self, token: str | None, customers: str) -> tuple[int, object]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        response = self.client.post("/each", content=customers, headers=headers)
        answer = response.json()
        return response.status_code, answer.get("detail", answer)


def subject_with(*, per_key: str = "", is_on: bool = True) -> Subject:
    store, bodies = _WatchedStore(), list[bytes]()
    app = FastAPI()
    app.state.key_ring = KeyRing(store, now=lambda: HOUR_ZERO) if is_on else None
    app.state.rate_limits = RateLimits(per_address="", per_key=per_key)
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
    return subject_with(per_key="2/hour")


def test_a_route_checks_each_customer_in_its_body(subject: Subject) -> None:
    token, key = a_key(rights=[Right.INGEST], customer_id="acme")
    subject.store.add(key)
    assert subject.post(token, "acme acme") == (200, {"taken": ["acme", "acme"]})
    assert subject.post(token, "acme globex") == (
        403,
        "this API key is for another customer",
    )


def test_a_request_counts_once_however_many_dependencies_ask(subject: Subject) -> None:
    token, key = a_key(rights=[Right.INGEST])
    subject.store.add(key)
    assert [subject.post(token, "acme")[0] for _ in range(3)] == [200, 200, 429]


def test_no_body_is_read_for_a_caller_without_the_right(subject: Subject) -> None:
    token, key = a_key(rights=[Right.READ, Right.ADMIN])
    subject.store.add(key)
    statuses = [subject.post(sent, "acme")[0] for sent in (None, "garbage", token)]
    assert (statuses, subject.bodies) == ([401, 401, 403], [])


def test_the_store_is_asked_off_the_event_loop_and_once_per_key(subject: Subject) -> None:
    token, key = a_key(rights=[Right.INGEST])
    subject.store.add(key)
    for sent in (token, token, None, "garbage"):
        subject.post(sent, "acme")
    assert subject.store.asked == [key.key_id]
    assert ["AnyIO worker thread" in name for name in subject.store.threads] == [True]


def test_without_keys_any_customer_may_be_named() -> None:
    subject = subject_with(is_on=False)
    assert subject.post(None, "acme globex") == (200, {"taken": ["acme", "globex"]})
    assert subject.store.asked == []
