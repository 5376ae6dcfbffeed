"""The API with API keys, on stores in memory and with clocks that stand still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from fastapi.testclient import TestClient

from events.api.security import RateLimits
from events.app import create_app
from events.auth.keyring import KeyRing
from events.auth.keys import Right
from events.config import Settings
from events.service import EventService
from tests.support.factories import HOUR, HOUR_ZERO, event
from tests.support.fakekeys import MemoryKeyStore, a_key
from tests.support.served import client_of
from tests.support.sqlstore import MemoryStore

#: A customer with one event.
ITS_CUSTOMER = "acme/é"
BUCKETS = "/events/customers/acme%2F%C3%A9/buckets?start=2021-03-01&end=2021-03-02"


class Clock:
    """The time of day, which stands still, and the clock of the cache."""

    def __init__(self) -> None:
        self.now = HOUR_ZERO
        self.seconds = 1_000.0


class Api(NamedTuple):
    """The API on a store in memory, its keys, and their clock."""

    client: TestClient
    keys: MemoryKeyStore
    clock: Clock

    def request(self, method: str, path: str, token: str | None = None, **more: Any) -> Any:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.request(method, path, headers=headers, **more)

    def get(self, path: str, token: str | None = None) -> Any:
        return self.request("GET", path, token)

    def key(
        self,
        *rights: Right,
        customer_id: str | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """The token of a new key."""
        token, key = a_key(
            rights=rights,
            customer_id=customer_id,
            created_at=HOUR_ZERO - HOUR,
            expires_at=expires_at,
        )
        assert self.keys.add(key)
        return token


@contextmanager
def serving(
    *,
    wrong_keys: str = "",
    cache_seconds: float = 5,
    are_keys_on: bool = True,
    per_key: str = "",
    per_address: str = "",
) -> Iterator[Api]:
    keys, clock = MemoryKeyStore(), Clock()

    def make_key_ring(settings: Settings) -> KeyRing | None:
        if not settings.are_api_keys_on:
            return None
        return KeyRing(
            keys,
            cache_seconds=cache_seconds,
            now=lambda: clock.now,
            clock=lambda: clock.seconds,
        )

    app = create_app(
        # Not from the environment: the API may live longer than a test.
        Settings.model_construct(events_api_keys="on" if are_keys_on else "off"),
        make_service=lambda _: EventService(MemoryStore(), write_threads=4),
        make_key_ring=make_key_ring,
    )
    app.state.rate_limits = RateLimits(
        per_address=per_address, per_key=per_key, wrong_keys=wrong_keys
    )
    with client_of(app) as client:
        app.state.service.ingest([event("t-1", customer_id=ITS_CUSTOMER)])
        yield Api(client, keys, clock)


def refusal(status: int, title: str, detail: str) -> dict[str, Any]:
    phrase = {401: "unauthorized", 403: "forbidden", 429: "too-many-requests"}[status]
    return {
        "type": f"urn:events:problem:{phrase}",
        "title": title,
        "status": status,
        "detail": detail,
        "errors": [],
    }
