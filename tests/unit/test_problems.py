"""Every error class has a status, and every error answer the same body."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from http import HTTPStatus
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException

import events
from events import errors
from events.api import problems
from events.api.middleware import InternalErrors
from events.api.problems import STATUS_OF, InvalidRequest
from events.app import create_app
from events.config import Settings
from events.errors import (
    ChangesForgotten,
    ClockSkew,
    EventsError,
    InvalidEvent,
    InvalidInput,
    InvalidWindow,
    NotAllowed,
    NotAuthenticated,
    StoreRefused,
    StoreUnavailable,
    TooManyRequests,
)
from tests.support.served import client_of

#: Classes outside `events.errors` and `events.api` that deliberately have their base's status.
LIKE_THEIR_BASE = {
    "MissingTable": 500,
    "TableExists": 500,
    "LocalServerError": 500,
    "RunError": 500,
    "QueueIsFull": 503,
    "TooLargeForKafka": 500,
    # Raised by commands only.
    "Conflict": 503,
    "MessagesMissing": 500,
    "InvalidOption": 400,
}


def test_every_error_class_is_in_the_status_table() -> None:
    ours = {
        item
        for _, item in inspect.getmembers(errors, inspect.isclass)
        if issubclass(item, EventsError)
    }
    assert len(ours) == 11
    assert {item: STATUS_OF.get(item) for item in ours} == {
        EventsError: 500,
        InvalidEvent: 400,
        InvalidWindow: 400,
        ChangesForgotten: 410,
        InvalidInput: 400,
        NotAuthenticated: 401,
        NotAllowed: 403,
        TooManyRequests: 429,
        StoreUnavailable: 503,
        ClockSkew: 503,
        StoreRefused: 500,
    }


def test_every_other_error_class_has_its_own_status_or_its_base_s() -> None:
    for module in pkgutil.walk_packages(events.__path__, "events."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    elsewhere = {
        item.__name__: item
        for item in subclasses_of(EventsError)
        if item.__module__ != errors.__name__ and item.__module__.startswith("events.")
    }
    assert {name: status_of(item) for name, item in elsewhere.items()} == {
        "InvalidRequest": 400,
        "TooLarge": 413,
        "UnsupportedContent": 415,
        "BodyTooSlow": 408,
        "Busy": 503,
        **LIKE_THEIR_BASE,
    }
    assert {name for name, item in elsewhere.items() if item in STATUS_OF} == (
        elsewhere.keys() - LIKE_THEIR_BASE.keys()
    )


def subclasses_of(base: type[EventsError]) -> set[type[EventsError]]:
    found = set(base.__subclasses__())
    return found.union(*(subclasses_of(item) for item in found)) if found else found


def status_of(error: type[EventsError]) -> HTTPStatus:
    return next(STATUS_OF[base] for base in error.__mro__ if base in STATUS_OF)


# --- answers --------------------------------------------------------------------------------------


class _Deeper(InvalidWindow):
    """A class that has the status of its base."""


WRONG = ("urn:events:problem:bad-request", "Invalid request", 400)
FAILED = ("urn:events:problem:internal-server-error", "Internal error", 500)
DOWN = ("urn:events:problem:service-unavailable", "Store not available", 503)
LOGGED = "the service failed: see its log"


def answer_to(error: Exception) -> Any:
    """The answer of an app whose only route raises an error."""
    app = FastAPI()
    problems.install(app)
    app.add_middleware(InternalErrors)

    @app.get("/")
    def fail() -> None:
        raise error

    return TestClient(app, raise_server_exceptions=False).get("/")


@pytest.mark.parametrize(
    ("error", "head", "detail", "fields"),
    [
        pytest.param(
            InvalidRequest("query", "is wrong"),
            WRONG,
            "query: is wrong",
            [{"field": "query", "detail": "is wrong"}],
            id="a request that is wrong",
        ),
        pytest.param(
            InvalidWindow("is too long", "end"),
            WRONG,
            "end: is too long",
            [{"field": "end", "detail": "is too long"}],
            id="a window, by one parameter",
        ),
        pytest.param(InvalidWindow("makes no sense"), WRONG, "makes no sense", [], id="a window"),
        pytest.param(_Deeper("makes no sense"), WRONG, "makes no sense", [], id="through its base"),
        pytest.param(
            InvalidEvent("timestamp", "is empty"),
            WRONG,
            "timestamp: is empty",
            [{"field": "timestamp", "detail": "is empty"}],
            id="an event, by one field",
        ),
        pytest.param(
            InvalidEvent(None, "has 3 columns"), WRONG, "has 3 columns", [], id="an event"
        ),
        pytest.param(InvalidInput("no header"), WRONG, "no header", [], id="an input"),
        pytest.param(StoreRefused("secret"), FAILED, LOGGED, [], id="refused"),
        pytest.param(EventsError("secret"), FAILED, LOGGED, [], id="an error of the service"),
        pytest.param(RuntimeError("secret"), FAILED, LOGGED, [], id="a bug"),
        pytest.param(
            StoreUnavailable("secret"),
            DOWN,
            "the store did not answer in time: send the same request again, that is safe",
            [],
            id="unavailable",
        ),
        pytest.param(
            ClockSkew("secret"),
            DOWN,
            "this server's clock differs too much from the store's: synchronize it (NTP), then "
            "send the same request again, that is safe",
            [],
            id="a wrong clock",
        ),
        pytest.param(
            HTTPException(404, "secret"),
            ("urn:events:problem:not-found", "Not found", 404),
            "no such path: /openapi.json lists all paths",
            [],
            id="not found",
        ),
        pytest.param(
            HTTPException(418, "at most 1 cup"),
            (
                "urn:events:problem:i'm-a-teapot",
                HTTPStatus(418).phrase,
                418,
            ),
            "at most 1 cup",
            [],
            id="a status without a text",
        ),
    ],
)
def test_each_error_is_answered_with_a_problem(
    error: Exception, head: tuple[str, str, int], detail: str, fields: list[dict[str, str]]
) -> None:
    response = answer_to(error)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()) == (
        head[2],
        {
            "type": head[0],
            "title": head[1],
            "status": head[2],
            "detail": detail,
            "errors": fields,
        },
    )
    assert response.headers.get("retry-after") == ("1" if head is DOWN else None)


def test_headers_of_an_http_error_are_kept() -> None:
    response = answer_to(HTTPException(418, headers={"X-Tea": "yes"}))
    assert (response.status_code, response.headers["x-tea"]) == (418, "yes")


def test_a_405_names_the_methods_of_all_routes_with_that_path() -> None:
    client = client_of(create_app(Settings()))
    for path, allowed in {
        "/livez": "GET, HEAD",
        "/events": "POST",
        "/events/customers/a/events": "DELETE, GET, HEAD",
    }.items():
        response = client.put(path)
        assert (response.status_code, response.headers["allow"]) == (405, allowed)


def test_the_hidden_reason_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    answer_to(StoreUnavailable("secret place"))
    answer_to(StoreRefused("secret rights"))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "StoreUnavailable: secret place"),
        ("ERROR", "StoreRefused: secret rights"),
    ]
