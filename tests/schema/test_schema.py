"""The whole API against its own OpenAPI description (schemathesis)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from schemathesis.checks import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from events.api.security import RateLimits
from events.app import create_app
from events.auth.keyring import KeyRing
from events.auth.keys import Right, new_key
from events.config import Settings
from events.service import EventService
from tests.support.fakekeys import MemoryKeyStore
from tests.support.shell import until
from tests.support.sqlstore import MemoryStore

pytestmark = pytest.mark.slow

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
#: The same requests in every run: the same seed, and nothing kept from one run to the next.
SCHEMA = schemathesis.openapi.from_dict(
    create_app(Settings()).openapi(),
    config=SchemathesisConfig.from_dict(
        {"generation": {"deterministic": True, "database": "none", "max-examples": 100}}
    ),
)


class Served(NamedTuple):
    """Where the API listens, and the headers that authenticate a caller."""

    base_url: str
    headers: dict[str, str]


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """A real server on a free port, because it is the server that parses paths and bodies."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        (listener,) = (sock for listening in server.servers for sock in listening.sockets)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """An API on a store in memory, with one key that has every right."""
    token, key = new_key(
        name="schemathesis",
        rights=frozenset(Right),
        customer_id=None,
        created_at=datetime.now(UTC),
        expires_at=None,
    )
    app = create_app(
        Settings.model_construct(events_api_keys="on"),
        make_service=lambda _: EventService(MemoryStore(), write_threads=4),
        make_key_ring=lambda _: KeyRing(MemoryKeyStore(key)),
    )
    # All requests come from one client, some of them without a valid key.
    app.state.rate_limits = RateLimits(per_address="", per_key="", wrong_keys="")
    with listening(app) as base_url:
        yield Served(base_url, {"Authorization": f"Bearer {token}"})


@SCHEMA.parametrize()
def test_each_operation_behaves_as_its_description_says(
    case: schemathesis.Case[Any], served: Served
) -> None:
    response = case.call(base_url=served.base_url, headers=served.headers)
    # The description says little about texts: ids, times and cursors have rules of their own.
    excluded: list[CheckFunction] = [positive_data_acceptance]
    if response.status_code == 207:
        # Valid events are stored, and each invalid event is rejected in its receipt.
        excluded.append(negative_data_rejection)
    if isinstance(case.query.get("event_type", []), bool | int | float | str):
        # In a URL, one value of a repeatable parameter is a list of one value.
        excluded.append(negative_data_rejection)
    if any(value in ([], {}) for value in (case.query or {}).values()):
        # In a URL, a parameter without values is not there.
        excluded.append(negative_data_rejection)
    case.validate_response(
        response,
        headers=served.headers,
        excluded_checks=excluded,
        # For checks that send the request again, without the key or after another request.
        transport_kwargs={"base_url": served.base_url, "headers": served.headers},
    )
