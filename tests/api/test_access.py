"""Every route and every kind of key, over HTTP: who may do what."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from events.api.ratelimits import make_rate_limits
from events.app import create_app
from events.auth.keyring import INVALID_KEY, KeyRing
from events.auth.keys import Right
from events.auth.keystore import DynamoKeyStore
from events.bootstrap import make_client, make_key_ring, make_key_store
from events.config import Settings
from tests.support.database import Database
from tests.support.factories import event
from tests.support.fakekeys import a_key, with_other_secret
from tests.support.served import as_served

Json = dict[str, Any]

#: Whom every request of the table below is about, if about one customer.
ITS_CUSTOMER, OTHER_CUSTOMER = "acme/é", "globex"
WINDOW = "start=2021-03-01&end=2021-03-02"
ERASED = "/events/customers/acme%2F%C3%A9/events"
EVENTS = f"{ERASED}?{WINDOW}"
AN_EVENT = {
    "customer_id": ITS_CUSTOMER,
    "event_type": "e",
    "transaction_id": "t",
    "timestamp": "2021-03-01T00:00:00Z",
}
SUMMARY = "/events/customers/acme%2F%C3%A9/summary"
BUCKETS = f"/events/customers/acme%2F%C3%A9/buckets?{WINDOW}"


# --- the table: routes × keys ---------------------------------------------------------------------


class Key(NamedTuple):
    """What is sent as a key: the rights are the one that the route asks for, or all others."""

    has_right: bool
    customer_id: str | None


NO_KEYS = ("no key", "garbage", "wrong secret", "unknown id", "expired", "revoked")
KEYS = {
    "wrong right, any customer": Key(has_right=False, customer_id=None),
    "wrong right, its customer": Key(has_right=False, customer_id=ITS_CUSTOMER),
    "right right, other customer": Key(has_right=True, customer_id=OTHER_CUSTOMER),
    "right right, its customer": Key(has_right=True, customer_id=ITS_CUSTOMER),
    "right right, any customer": Key(has_right=True, customer_id=None),
}
About = Literal["customer", "all", "each"]
REFUSED = dict.fromkeys(NO_KEYS, 401) | dict.fromkeys(KEYS, 403)
#: What a route answers to each key, by whom it is about; "good" stands for its own good answer.
_ABOUT_ITS_CUSTOMER: Mapping[str, int | Literal["good"]] = {
    **REFUSED,
    "right right, its customer": "good",
    "right right, any customer": "good",
}
ANSWERS: Mapping[About, Mapping[str, int | Literal["good"]]] = {
    "customer": _ABOUT_ITS_CUSTOMER,
    "all": {**REFUSED, "right right, any customer": "good"},
    # Where the body names customers it is the route that refuses others than the key's own.
    "each": _ABOUT_ITS_CUSTOMER,
}


class Guarded(NamedTuple):
    """
    A route that needs a key.

    Args:
        path: A good request, about `ITS_CUSTOMER` where about one.
        good: Its status.
        other: Answers that differ from `ANSWERS`, by key.
    """

    right: Right
    about: About
    path: str
    body: Json | None = None
    good: int = 200
    other: Mapping[str, int] = {}

    def expected(self, key: str) -> int:
        answer = self.other.get(key, ANSWERS[self.about][key])
        return self.good if answer == "good" else answer


#: Each route there is, as `METHOD /path`. Put a row here for each new one.
GUARDED = {
    "GET /events/customers/{customer_id:id}/buckets": Guarded(Right.READ, "customer", BUCKETS),
    "GET /events/customers/{customer_id:id}/summary": Guarded(Right.READ, "customer", SUMMARY),
    "GET /events/customers": Guarded(Right.READ, "all", "/events/customers"),
    "GET /events/changes": Guarded(Right.READ, "all", "/events/changes"),
    "GET /events/customers/{customer_id:id}/events": Guarded(Right.READ, "customer", EVENTS),
    "DELETE /events/customers/{customer_id:id}/events": Guarded(Right.ADMIN, "customer", ERASED),
    "GET /metrics": Guarded(Right.READ, "all", "/metrics"),
    "POST /events": Guarded(Right.INGEST, "each", "/events", {"events": [AN_EVENT]}),
    "POST /events/void": Guarded(
        Right.ADMIN, "each", "/events/void", {"reason": "a test", "events": [AN_EVENT]}
    ),
}
#: Routes that anybody may ask, without a key.
OPEN = {
    "GET /livez",
    "GET /readyz",
    "GET /openapi.json",
    "HEAD /openapi.json",
    # The page holds no data: what it shows it asks the API, with a key.
    "GET /",
    "ANY /static",
}


def routes_of(app: FastAPI) -> set[str]:
    """Every route, also those that are in no description; one without methods is `ANY`."""
    return {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in getattr(route, "methods", None) or {"ANY"}
    }


def test_every_route_is_in_the_table() -> None:
    assert routes_of(create_app(Settings())) == GUARDED.keys() | OPEN


# --- the API under test ---------------------------------------------------------------------------


class Api(NamedTuple):
    """An application that is up, and its keys."""

    client: TestClient
    store: DynamoKeyStore

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
        token, key = a_key(rights=rights, customer_id=customer_id, expires_at=expires_at)
        assert self.store.add(key)
        return token


@contextmanager
def serving(
    settings: Settings, *, wrong_keys_rate: str = "", cache_seconds: float = 5
) -> Iterator[Api]:
    def key_ring(settings: Settings) -> KeyRing | None:
        ring = make_key_ring(settings)
        if ring is not None:
            ring._cache_seconds = cache_seconds
        return ring

    app = create_app(settings, make_key_ring=key_ring)
    store = make_key_store(settings, patience_seconds=10, may_make_tables=True)
    with TestClient(as_served(app), raise_server_exceptions=False) as client:
        app.state.rate_limits = make_rate_limits(
            per_address=settings.events_rate_per_address,
            per_key=settings.events_rate_per_key,
            wrong_keys=wrong_keys_rate,
        )
        app.state.service.create_tables()
        app.state.service.ingest([event("t-1", customer_id=ITS_CUSTOMER)])
        yield Api(client, store)
    store.close()
    database = make_client(settings)
    for suffix in ("", "_hourly_counts", "_changes", "_api_keys"):
        with suppress(database.exceptions.ResourceNotFoundException):
            database.delete_table(TableName=settings.dynamodb_events_table_name + suffix)
    database.close()


def guarded(database: Database, **settings: Any) -> Settings:
    """Settings with keys, without limits, and with tables of their own."""
    # Not from the environment: some live longer than a test.
    return Settings.model_construct(
        **{
            "dynamodb_endpoint_url": database.endpoint_url,
            "dynamodb_events_table_name": f"t{uuid.uuid4().hex}",
            "events_api_keys": "on",
            "events_rate_per_key": "",
            "events_rate_per_address": "",
            **settings,
        }
    )


@pytest.fixture(scope="module")
def api(database: Database) -> Iterator[Api]:
    with serving(guarded(database)) as api:
        yield api


def token_of(api: Api, key: str, right: Right) -> str | None:
    """What is sent for a kind of key; all but the ones of `KEYS` would have the right."""
    if key in KEYS:
        kind = KEYS[key]
        rights = {right} if kind.has_right else set(Right) - {right}
        return api.key(*rights, customer_id=kind.customer_id)
    match key:
        case "no key":
            return None
        case "garbage":
            return "garbage"
        case "wrong secret":
            return with_other_secret(api.key(*Right))
        case "unknown id":
            return a_key(rights=list(Right))[0]
        case "expired":
            long_ago = datetime(2021, 3, 1, 1, tzinfo=UTC)
            return api.key(*Right, expires_at=long_ago)
    token = api.key(*Right)
    api.store.revoke(token[7:19], datetime.now(UTC))
    return token


@pytest.mark.parametrize("key", [*NO_KEYS, *KEYS])
@pytest.mark.parametrize("route", GUARDED)
def test_each_route_answers_each_key_as_the_table_says(api: Api, route: str, key: str) -> None:
    row = GUARDED[route]
    method = route.split()[0]
    response = api.request(method, row.path, token_of(api, key, row.right), json=row.body)
    assert response.status_code == row.expected(key), response.text
    if response.status_code == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json() == refusal(401, "API key required", INVALID_KEY)
    if response.status_code == 403:
        assert response.json()["title"] == "Not allowed"


@pytest.mark.parametrize("path", ["/events", "/events/void"])
def test_a_key_for_one_customer_sends_nothing_of_another_not_even_what_would_be_rejected(
    api: Api, path: str
) -> None:
    token = api.key(Right.INGEST, Right.ADMIN, customer_id=ITS_CUSTOMER)
    good = AN_EVENT | {"transaction_id": "beside"}
    for other in (
        AN_EVENT | {"customer_id": OTHER_CUSTOMER},
        {"customer_id": OTHER_CUSTOMER},
        AN_EVENT | {"customer_id": OTHER_CUSTOMER, "timestamp": "yesterday"},
        AN_EVENT | {"customer_id": "x" * 3_000},
    ):
        body = {"events": [good, other]} | ({"reason": "x"} if path.endswith("void") else {})
        assert api.request("POST", path, token, json=body).status_code == 403, other
    total = api.get(BUCKETS, api.key(Right.READ)).json()["total"]
    assert api.request("POST", "/events", token, json={"events": [good]}).json()["inserted"] in (
        0,
        1,
    )
    assert api.get(BUCKETS, api.key(Right.READ)).json()["total"] in (total, total + 1)


def refusal(status: int, title: str, detail: str) -> Json:
    phrase = {401: "unauthorized", 403: "forbidden", 429: "too-many-requests"}[status]
    return {
        "type": f"urn:events:problem:{phrase}",
        "title": title,
        "status": status,
        "detail": detail,
        "errors": [],
    }


@pytest.mark.parametrize("route", sorted(OPEN))
def test_an_open_route_asks_for_no_key(api: Api, route: str) -> None:
    method, path = route.replace("ANY /static", "GET /static/app.js").split()
    for token in (None, "garbage"):
        # The description alone takes HEAD, by the framework's choice.
        assert api.request(method, path, token).status_code == 200


# --- how a key is sent ----------------------------------------------------------------------------


def test_the_word_bearer_is_taken_in_any_case(api: Api) -> None:
    token = api.key(Right.READ)
    for word in ("Bearer", "bearer", "BEARER"):
        response = api.client.get(BUCKETS, headers={"Authorization": f"{word} {token}"})
        assert response.status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", "{token}", "Basic {token}", "Token {token}", "Bearer {token} x",
        "Bearer x {token}", "Bearer {token},Bearer {token}", "Bearer '{token}'",
        "Bearer \xe9{token}",
    ],
)  # fmt: skip
def test_any_other_header_is_no_key(api: Api, header: str) -> None:
    text = header.format(token=api.key(Right.READ))
    response = api.client.get(BUCKETS, headers={b"Authorization": text.encode("latin-1")})
    assert response.status_code == 401
    assert response.json() == refusal(401, "API key required", INVALID_KEY)


def test_a_key_in_the_address_is_none(api: Api) -> None:
    token = api.key(Right.READ)
    assert api.get(f"{BUCKETS}&access_token={token}").status_code == 401


def test_no_key_comes_before_what_is_wrong_with_the_parameters(api: Api) -> None:
    wrong = "/events/customers/%20/buckets?start=x&unknown=1"
    assert api.get(wrong).status_code == 401
    assert api.get(wrong, api.key(Right.INGEST)).status_code == 403
    assert api.get(wrong, api.key(Right.READ, customer_id="acme")).status_code == 403
    response = api.get(wrong, api.key(Right.READ))
    assert response.status_code == 400
    assert {each["field"] for each in response.json()["errors"]} == {
        "customer_id", "start", "end", "unknown",
    }  # fmt: skip


def test_a_customer_s_key_is_good_for_its_id_byte_by_byte_alone(api: Api) -> None:
    token = api.key(Right.READ, customer_id="a/b")
    statuses = {
        path: api.get(f"/events/customers/{path}/buckets?{WINDOW}", token).status_code
        for path in ("a%2Fb", "a/b", "a%2fb", "a%252Fb", "A%2Fb", "a%2Fb%20", "a%2Fb/buckets", "")
    }
    assert statuses == {
        "a%2Fb": 200, "a/b": 200, "a%2fb": 200, "a%252Fb": 403, "A%2Fb": 403, "a%2Fb%20": 403,
        "a%2Fb/buckets": 403, "": 403,
    }  # fmt: skip


def test_an_address_that_is_not_there_needs_no_key(api: Api) -> None:
    assert api.get("/nothing").status_code == 404
    assert api.request("POST", "/events/customers").status_code == 405


# --- time -----------------------------------------------------------------------------------------


def test_two_keys_of_one_customer_both_work_until_one_is_revoked(database: Database) -> None:
    with serving(guarded(database), cache_seconds=0.2) as api:
        old, new = (api.key(Right.READ, customer_id=ITS_CUSTOMER) for _ in range(2))
        assert [api.get(BUCKETS, each).status_code for each in (old, new)] == [200, 200]
        revoked = time.monotonic()
        api.store.revoke(old[7:19], datetime.now(UTC))
        time.sleep(0.2)
        assert [api.get(BUCKETS, each).status_code for each in (old, new)] == [401, 200]
        assert time.monotonic() - revoked >= 0.2


def test_without_a_cache_a_key_is_refused_as_soon_as_it_is_revoked(
    database: Database,
) -> None:
    with serving(guarded(database), cache_seconds=0) as api:
        token = api.key(Right.READ)
        assert api.get(BUCKETS, token).status_code == 200
        api.store.revoke(token[7:19], datetime.now(UTC))
        assert api.get(BUCKETS, token).status_code == 401


def test_a_key_expires_while_it_is_in_use(api: Api) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=1)
    token = api.key(Right.READ, expires_at=expires_at)
    assert api.get(BUCKETS, token).status_code == 200
    while datetime.now(UTC) <= expires_at:
        time.sleep(0.05)
    assert api.get(BUCKETS, token).status_code == 401


# --- keys and no table, no store, or off ----------------------------------------------------------


def test_with_keys_on_and_none_made_nobody_gets_in_and_the_log_says_how_to_make_one(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    settings = guarded(database)
    token, _ = a_key()
    with serving(settings) as api:
        response = api.get(BUCKETS, token)
        assert response.json() == refusal(401, "API key required", INVALID_KEY)
        assert "python -m events keys create" in caplog.text
        assert token[20:] not in caplog.text
        client = make_client(settings)
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.describe_table(TableName=f"{settings.dynamodb_events_table_name}_api_keys")
        client.close()


def test_a_store_that_is_away_is_a_503_and_never_lets_anybody_in() -> None:
    settings = Settings.model_construct(
        dynamodb_endpoint_url="http://127.0.0.1:9",
        events_api_keys="on",
        events_store_patience_seconds=0,
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert client.get(BUCKETS).status_code == 401
        token, _ = a_key()
        response = client.get(BUCKETS, headers={"Authorization": f"Bearer {token}"})
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert client.get("/livez").status_code == 200


def test_with_keys_off_no_key_is_looked_at(database: Database) -> None:
    with serving(guarded(database, events_api_keys="off")) as api:
        for token in (None, "garbage", a_key()[0]):
            assert api.get(BUCKETS, token).status_code == 200


# --- limits ---------------------------------------------------------------------------------------


def limited(response: Any, most_seconds: int) -> str:
    """What a caller who asks too often is told."""
    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= most_seconds
    body: Json = response.json()
    detail: str = body["detail"]
    assert body == refusal(429, "Rate limit exceeded", detail)
    return detail


def test_a_key_may_send_as_many_requests_as_its_limit_says(database: Database) -> None:
    with serving(guarded(database, events_rate_per_key="3/hour")) as api:
        first, second = api.key(Right.READ), api.key(Right.READ)
        assert [api.get(BUCKETS, first).status_code for _ in range(3)] == [200] * 3
        assert limited(api.get(BUCKETS, first), 3_600) == (
            "Rate limit exceeded: 3 requests/hour per API key. Retry after the seconds in the "
            "Retry-After header."
        )
        assert api.get(BUCKETS, second).status_code == 200
        # One that is refused for its right has asked too.
        assert api.get(BUCKETS, api.key(Right.INGEST)).status_code == 403


@pytest.mark.parametrize("keys", ["on", "off"])
def test_an_address_may_send_as_many_as_its_limit_says_and_probes_are_not_counted(
    database: Database, keys: str
) -> None:
    settings = guarded(database, events_rate_per_address="3/hour", events_api_keys=keys)
    with serving(settings) as api:
        token = api.key(Right.READ)
        for _ in range(5):
            assert api.get("/livez").status_code == api.get("/readyz").status_code == 200
        assert [api.get(BUCKETS, token).status_code for _ in range(3)] == [200] * 3
        assert limited(api.get("/events/customers", token), 3_600) == (
            "Rate limit exceeded: 3 requests/hour per address. Retry after the seconds in the "
            "Retry-After header."
        )
        assert api.get("/livez").status_code == api.get("/readyz").status_code == 200
        assert api.get("/openapi.json").status_code == 200


def test_wrong_keys_are_limited_and_good_ones_do_not_count(database: Database) -> None:
    with serving(guarded(database), wrong_keys_rate="3/hour", cache_seconds=60) as api:
        token, later = api.key(Right.READ), api.key(Right.READ)
        for _ in range(5):
            assert api.get(BUCKETS, token).status_code == 200
        wrong = [None, "garbage", a_key()[0]]
        assert [api.get(BUCKETS, each).status_code for each in wrong] == [401] * 3
        for each in wrong:
            assert limited(api.get(BUCKETS, each), 3_600) == (
                "Rate limit exceeded: 3 requests/hour without a valid API key per address. Retry "
                "after the seconds in the Retry-After header."
            )
        # A good key that is known goes on; one that the store would have to be asked for waits.
        assert api.get(BUCKETS, token).status_code == 200
        limited(api.get(BUCKETS, later), 3_600)
