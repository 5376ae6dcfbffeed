"""The whole API against its own description: requests that it allows, and that it forbids."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
import schemathesis
import uvicorn
from schemathesis.checks import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from events.app import create_app
from events.auth.keys import Right, new_key
from events.bootstrap import make_client, make_key_store
from events.config import Settings
from tests.support.database import Database

#: The same requests in every run: the same seed, and nothing kept from one run to the next.

SCHEMA = schemathesis.openapi.from_dict(
    create_app(Settings()).openapi(),
    config=SchemathesisConfig.from_dict(
        {"generation": {"deterministic": True, "database": "none", "max-examples": 200}}
    ),
)

#: Why something may be refused that JSON Schema finds nothing wrong with.
BEYOND_JSON_SCHEMA = re.compile(
    # Only what the service gave is one:
    "is no cursor|is no (?:place in|hour of) this window|is no window of this range"
    "|bytes of UTF-8|bytes of the key"  # it counts characters; keys have bytes
    "|is not a valid date and time|is outside the years"  # a pattern knows no calendar
    "|is no place in the list|lies in the future"  # nor what time it is
    "|is after end|fill=zero"  # nor does it compare one parameter with another
    "|goes only with window|gives the whole window"
    "|unknown time zone|is no IANA time zone|without pyarrow"  # nor what is installed
)


class Served(NamedTuple):
    """Where the API listens, and how to be let in."""

    base_url: str
    headers: dict[str, str]


@contextmanager
def listening(settings: Settings) -> Iterator[str]:
    """A real server on a free port of this machine, for paths and bodies that are parsed by it."""
    config = uvicorn.Config(create_app(settings), host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "it did not start"
            time.sleep(0.01)
        (listener,) = (each for every in server.servers for each in every.sockets)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def served(database: Database) -> Iterator[Served]:
    """An API on tables of its own, with a key that may do all there is."""
    settings = Settings.model_construct(
        dynamodb_endpoint_url=database.endpoint_url,
        dynamodb_events_table_name=f"t{uuid.uuid4().hex}",
        events_api_keys="on",
        # This is one client, with many requests.
        events_rate_per_key="",
        events_rate_per_address="",
    )
    token, key = new_key(
        name="schemathesis",
        rights=frozenset(Right),
        customer_id=None,
        created_at=datetime.now(UTC),
        expires_at=None,
    )
    keys = make_key_store(settings, patience_seconds=10, may_make_tables=True)
    keys.add(key)
    keys.close()
    with listening(settings) as base_url:
        yield Served(base_url, {"Authorization": f"Bearer {token}"})
    client = make_client(settings)
    for table in client.list_tables()["TableNames"]:
        if table.startswith(settings.dynamodb_events_table_name):
            client.delete_table(TableName=table)
    client.close()


def refusals(response: schemathesis.Response) -> list[str]:
    """What an answer says is wrong, with the request or with one of its events."""
    if response.status_code == 400:
        return [error["detail"] for error in response.json()["errors"]]
    if response.status_code == 207:
        return [each["error"] for each in response.json()["results"] if "error" in each]
    return []


@SCHEMA.parametrize()
def test_each_operation_takes_what_its_description_allows_and_nothing_else(
    case: schemathesis.Case[Any], served: Served
) -> None:
    response = case.call(base_url=served.base_url, headers=served.headers)
    refused = refusals(response)
    is_beyond = bool(refused) and all(BEYOND_JSON_SCHEMA.search(each) for each in refused)
    excluded: list[CheckFunction] = []
    if response.status_code == 400 and is_beyond:
        excluded.append(positive_data_acceptance)
    if response.status_code == 410:
        # A time long ago is a good one, of which nothing is known any more.
        excluded.append(positive_data_acceptance)
    if response.status_code == 207 and refused:
        # Good events are stored, and each bad one is refused by its receipt.
        excluded.append(negative_data_rejection)
        assert case.meta is not None
        assert is_beyond or case.meta.generation.mode.is_negative, refused
    if isinstance(case.query.get("event_type", []), bool | int | float | str):
        # In an address one value of a parameter that may be repeated is a list of one.
        excluded.append(negative_data_rejection)
    if any(value in ([], {}) for value in (case.query or {}).values()):
        # Nor does one without a value show in it.
        excluded.append(negative_data_rejection)
    case.validate_response(
        response,
        headers=served.headers,
        excluded_checks=excluded,
        # For the checks that send a request again, without the key or after another.
        transport_kwargs={"base_url": served.base_url, "headers": served.headers},
    )
