"""Every route with every kind of key: who may do what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from events.app import create_app
from events.auth.keyring import INVALID_KEY
from events.auth.keys import Right
from events.config import Settings
from tests.support.factories import HOUR_ZERO, MICROSECOND
from tests.support.fakekeys import a_key, with_other_secret
from tests.support.guarded import BUCKETS, ITS_CUSTOMER, Api, refusal, serving

Json = dict[str, Any]

OTHER_CUSTOMER = "globex"
WINDOW = "start=2021-03-01&end=2021-03-02"
ERASED = "/events/customers/acme%2F%C3%A9/events"
EVENTS = f"{ERASED}?{WINDOW}"
AN_EVENT = {
    "customer_id": ITS_CUSTOMER,
    "event_type": "e",
    "transaction_id": "t",
    "timestamp": "2021-03-01T00:00:00Z",
}
SEVERAL = "/events/buckets?customer_id=acme%2F%C3%A9&start=2021-03-01&end=2021-03-02"
METRONOME_USAGE = {
    "starting_on": "2021-03-01T00:00:00Z",
    "ending_before": "2021-03-02T00:00:00Z",
    "window_size": "DAY",
    "customer_ids": [ITS_CUSTOMER],
    "billable_metrics": [{"id": "e"}],
}
A_CLOUD_EVENT = {
    "specversion": "1.0",
    "subject": ITS_CUSTOMER,
    "type": "e",
    "source": "s",
    "id": "t",
    "time": "2021-03-01T00:00:00Z",
}
A_METER = (
    "/openmeter/api/v1/meters/e/query?subject=acme%2F%C3%A9"
    "&from=2021-03-01T00:00:00Z&to=2021-03-02T00:00:00Z"
)
SUMMARY = "/events/customers/acme%2F%C3%A9/summary"


# --- the table: routes × keys ---------------------------------------------------------------------


class Key(NamedTuple):
    """A kind of key: it has the right that the route needs, or all other rights."""

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
#: Status by key and by what a route is about; "good" stands for the route's success status.
_ABOUT_ITS_CUSTOMER: Mapping[str, int | Literal["good"]] = {
    **REFUSED,
    "right right, its customer": "good",
    "right right, any customer": "good",
}
ANSWERS: Mapping[About, Mapping[str, int | Literal["good"]]] = {
    "customer": _ABOUT_ITS_CUSTOMER,
    "all": {**REFUSED, "right right, any customer": "good"},
    # If the body names customers, the route refuses all but the key's own.
    "each": _ABOUT_ITS_CUSTOMER,
}


class Guarded(NamedTuple):
    """
    A route that needs a key.

    Args:
        path: A valid request.
        good: Its status.
        other: Answers that differ from `ANSWERS`, by key.
    """

    right: Right
    about: About
    path: str
    body: Json | list[Json] | None = None
    good: int = 200
    other: Mapping[str, int] = {}

    def expected(self, key: str) -> int:
        answer = self.other.get(key, ANSWERS[self.about][key])
        return self.good if answer == "good" else answer


#: Every route, as `METHOD /path`. Add a row for each new route.
GUARDED = {
    "GET /events/customers/{customer_id:id}/buckets": Guarded(Right.READ, "customer", BUCKETS),
    "GET /events/customers/{customer_id:id}/summary": Guarded(Right.READ, "customer", SUMMARY),
    "GET /events/buckets": Guarded(Right.READ, "each", SEVERAL),
    "GET /events/customers": Guarded(Right.READ, "all", "/events/customers"),
    "GET /events/changes": Guarded(Right.READ, "all", "/events/changes"),
    "GET /events/customers/{customer_id:id}/events": Guarded(Right.READ, "customer", EVENTS),
    "DELETE /events/customers/{customer_id:id}/events": Guarded(Right.ADMIN, "customer", ERASED),
    "GET /metrics": Guarded(Right.READ, "all", "/metrics"),
    "POST /events": Guarded(Right.INGEST, "each", "/events", {"events": [AN_EVENT]}),
    "POST /events/void": Guarded(
        Right.ADMIN, "each", "/events/void", {"reason": "a test", "events": [AN_EVENT]}
    ),
    "POST /metronome/v1/ingest": Guarded(Right.INGEST, "each", "/metronome/v1/ingest", [AN_EVENT]),
    "POST /metronome/v1/usage": Guarded(Right.READ, "each", "/metronome/v1/usage", METRONOME_USAGE),
    "POST /openmeter/api/v1/events": Guarded(
        Right.INGEST, "each", "/openmeter/api/v1/events", A_CLOUD_EVENT, 204
    ),
    "GET /openmeter/api/v1/meters/{slug:id}/query": Guarded(Right.READ, "each", A_METER),
}
#: Routes that need no key.
OPEN = {
    "GET /livez",
    "GET /readyz",
    "GET /openapi.json",
    "HEAD /openapi.json",
    # The page holds no data: it asks the API, with a key.
    "GET /",
    "ANY /static",
}


def routes_of(app: FastAPI) -> set[str]:
    """Every route, also those outside the OpenAPI description; `ANY` if it has no methods."""
    return {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in getattr(route, "methods", None) or {"ANY"}
    }


def test_every_route_is_in_the_table() -> None:
    assert routes_of(create_app(Settings())) == GUARDED.keys() | OPEN


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serving() as api:
        yield api


def token_of(api: Api, key: str, right: Right) -> str | None:
    """The token of a kind of key; all but those of `KEYS` would have the right."""
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
            return api.key(*Right, expires_at=HOUR_ZERO - MICROSECOND)
    token = api.key(*Right)
    api.keys.revoke(token[7:19], HOUR_ZERO)
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
def test_a_key_for_one_customer_cannot_send_events_of_another(api: Api, path: str) -> None:
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


@pytest.mark.parametrize("route", sorted(OPEN))
def test_an_open_route_needs_no_key(api: Api, route: str) -> None:
    method, path = route.replace("ANY /static", "GET /static/app.js").split()
    for token in (None, "garbage"):
        assert api.request(method, path, token).status_code == 200


# --- how a key is sent ----------------------------------------------------------------------------


def test_bearer_may_be_written_in_any_case(api: Api) -> None:
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
def test_any_other_authorization_header_is_refused(api: Api, header: str) -> None:
    text = header.format(token=api.key(Right.READ))
    response = api.client.get(BUCKETS, headers={b"Authorization": text.encode("latin-1")})
    assert response.status_code == 401
    assert response.json() == refusal(401, "API key required", INVALID_KEY)


def test_a_key_in_the_url_is_refused(api: Api) -> None:
    token = api.key(Right.READ)
    assert api.get(f"{BUCKETS}&access_token={token}").status_code == 401


def test_the_key_is_checked_before_the_parameters(api: Api) -> None:
    wrong = "/events/customers/%20/buckets?start=x&unknown=1"
    assert api.get(wrong).status_code == 401
    assert api.get(wrong, api.key(Right.INGEST)).status_code == 403
    assert api.get(wrong, api.key(Right.READ, customer_id="acme")).status_code == 403
    response = api.get(wrong, api.key(Right.READ))
    assert response.status_code == 400
    assert {item["field"] for item in response.json()["errors"]} == {
        "customer_id", "start", "end", "unknown",
    }  # fmt: skip


def test_a_key_is_for_exactly_one_customer_id_byte_by_byte(api: Api) -> None:
    token = api.key(Right.READ, customer_id="a/b")
    statuses = {
        path: api.get(f"/events/customers/{path}/buckets?{WINDOW}", token).status_code
        for path in ("a%2Fb", "a/b", "a%2fb", "a%252Fb", "A%2Fb", "a%2Fb%20", "a%2Fb/buckets", "")
    }
    assert statuses == {
        "a%2Fb": 200, "a/b": 200, "a%2fb": 200, "a%252Fb": 403, "A%2Fb": 403, "a%2Fb%20": 403,
        "a%2Fb/buckets": 403, "": 403,
    }  # fmt: skip


def test_an_unknown_path_needs_no_key(api: Api) -> None:
    assert api.get("/nothing").status_code == 404
    assert api.request("POST", "/events/customers").status_code == 405
