"""Middleware: request ids, headers, HEAD, CORS, local requests, concurrency."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from events.api.middleware import ConcurrencyLimit
from events.app import create_app
from events.config import Settings
from events.telemetry.logs import REQUEST_ID
from tests.support.served import client_of

SECURE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
APP_ORIGIN = "https://app.example.com"
#: With keys on, and two origins whose pages may call.
OPEN = Settings(events_api_keys="on", events_cors_origins=f"{APP_ORIGIN} http://localhost:3000")


def app_with_routes(settings: Settings) -> FastAPI:
    """The application, and routes that do what these tests need."""
    app = create_app(settings)

    @app.get("/boom")
    def get_boom() -> None:
        raise RuntimeError("hidden reason")

    @app.get("/cached")
    async def get_cached() -> PlainTextResponse:
        return PlainTextResponse("good for long", headers={"Cache-Control": "max-age=60"})

    @app.get("/id-in-a-thread")
    def get_id() -> str:
        return REQUEST_ID.get()

    @app.post("/posted")
    async def post() -> str:
        return "posted"

    return app


@pytest.fixture
def client() -> TestClient:
    return client_of(app_with_routes(Settings()))


# --- ids and headers ------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
def test_a_valid_request_id_of_the_caller_is_kept(client: TestClient, given: str) -> None:
    response = client.get("/id-in-a-thread", headers={"X-Request-ID": given})
    # Also where the route runs in a thread.
    assert (response.headers["x-request-id"], response.json()) == (given, given)


@pytest.mark.parametrize(
    "given", ["", "x" * 65, "a b", "a\x1b[2K", "ä".encode().decode("latin-1"), "a\tb"]
)
def test_an_invalid_request_id_is_replaced(client: TestClient, given: str) -> None:
    headers = [(b"X-Request-ID", given.encode("latin-1"))]
    response = client.get("/id-in-a-thread", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    assert response.json() == response.headers["x-request-id"]


def test_each_request_has_an_id_of_its_own(client: TestClient) -> None:
    assert len({client.get("/livez").headers["x-request-id"] for _ in range(5)}) == 5
    assert REQUEST_ID.get() == ""


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/livez?a=1&a=2", 400),
        ("GET", "/nope", 404),
        ("POST", "/livez", 405),
        ("GET", "/boom", 500),
    ],
)
def test_every_answer_has_a_request_id_and_security_headers(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path, headers={"X-Request-ID": "mine"})
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in (*SECURE, "x-request-id", "server")} == {
        **SECURE,
        "x-request-id": "mine",
        "server": None,
    }


def test_a_route_may_set_its_own_cache_control(client: TestClient) -> None:
    response = client.get("/cached")
    assert response.headers.get_list("cache-control") == ["max-age=60"]


def test_an_unexpected_error_is_a_500_and_its_trace_is_logged_once(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = client.get("/boom")
    assert (response.status_code, response.json()["title"]) == (
        500,
        "Internal error",
    )
    assert "hidden reason" not in response.text
    traced = [record for record in caplog.records if record.exc_info]
    assert [str(record.exc_info and record.exc_info[1]) for record in traced] == ["hidden reason"]


# --- HEAD -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/livez", "/openapi.json", "/metrics", "/cached", "/nope", "/boom"]
)
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    ids = {"X-Request-ID": "mine"}
    get, head = client.get(path, headers=ids), client.head(path, headers=ids)
    if path == "/metrics":  # it counts what asks
        for response in (get, head):
            del response.headers["content-length"]
    assert (head.status_code, dict(head.headers)) == (get.status_code, dict(get.headers))
    assert (head.content, bool(get.content)) == (b"", True)


# --- local requests only --------------------------------------------------------------------------


def asked(
    *,
    server: tuple[str, int | None] | None = ("127.0.0.1", 8800),
    client: tuple[str, int] | None = ("127.0.0.1", 50_000),
    host: str | None = "localhost:8800",
    settings: Settings | None = None,
    **headers: str,
) -> Any:
    """What `/livez` answers to a request with this in its scope."""
    app = create_app(settings or Settings())

    async def so_asked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["server"], scope["client"] = server, client
            scope["headers"] = [] if host is None else [(b"host", host.encode())]
            scope["headers"] += [
                (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
            ]
        await app(scope, receive, send)

    return TestClient(so_asked).get("/livez")


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"server": ("::1", 8800), "client": ("::1", 5), "host": "[::1]:8800"},
        {"server": ("127.9.9.9", 8800), "client": ("127.0.0.2", 5), "host": "127.9.9.9"},
        {"host": "LOCALHOST"},
        {"host": "127.0.0.1:1"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://[::1]:5"},
        {"origin": APP_ORIGIN, "settings": Settings(events_cors_origins=APP_ORIGIN)},
    ],
    ids=str,
)
def test_without_keys_local_requests_are_served(request_: dict[str, Any]) -> None:
    assert asked(**request_).status_code == 200


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"server": ("10.0.0.5", 8800)}, "address of the server"),
        ({"server": ("0.0.0.0", 8800)}, "address of the server"),
        ({"server": ("testserver", 80)}, "address of the server"),
        ({"server": ("/run/api.sock", None)}, "address of the server"),
        ({"server": None}, "address of the server"),
        ({"client": ("10.0.0.6", 5)}, "address of the client"),
        ({"client": ("::ffff:10.0.0.6", 5)}, "address of the client"),
        ({"client": ("testclient", 5)}, "address of the client"),
        ({"client": ("", 0)}, "address of the client"),
        ({"client": None}, "address of the client"),
        ({"host": None}, "Host header"),
        ({"host": ""}, "Host header"),
        ({"host": "evil.example.com"}, "Host header"),
        ({"host": "localhost.evil.example.com"}, "Host header"),
        ({"host": "127.0.0.1.evil.example.com:8800"}, "Host header"),
        ({"host": "localhost:8800@evil.example.com"}, "Host header"),
        ({"host": "[::2]:8800"}, "Host header"),
        ({"host": "0.0.0.0:8800"}, "Host header"),
        ({"origin": "https://evil.example.com"}, "Origin header"),
        ({"origin": "http://localhost@evil.example.com"}, "Origin header"),
        ({"origin": "http://[::1"}, "Origin header"),
        ({"origin": "null"}, "Origin header"),
    ],
    ids=str,
)
def test_without_keys_other_requests_are_refused_with_the_reason(
    request_: dict[str, Any], reason: str
) -> None:
    response = asked(**request_)
    assert response.status_code == 403
    body = response.json()
    assert reason in body["detail"]
    assert "EVENTS_API_KEYS=on" in body["detail"]
    assert "python -m events keys create" in body["detail"]
    assert body["type"] == "urn:events:problem:only-local-requests-are-served"


def test_with_keys_requests_of_other_machines_are_served() -> None:
    response = asked(
        server=("10.0.0.5", 80),
        client=("10.0.0.6", 5),
        host="api.example.com",
        x_forwarded_for="1.2.3.4",
        settings=OPEN,
    )
    assert response.status_code == 200


# --- concurrency limit ----------------------------------------------------------------------------


class Nested:
    """A client that asks again while its first request is being answered."""

    def __init__(self, max_requests: int) -> None:
        app = create_app(Settings())
        self.inner: dict[str, Any] = {}
        client = client_of(ConcurrencyLimit(app, max_requests))

        @app.get("/outer")
        def get_outer() -> str:
            for path in ("/openapi.json", "/livez"):
                self.inner[path] = client.get(path)
            return "outer"

        self.outer = client.get("/outer")
        self.after = client.get("/openapi.json")


def test_requests_over_the_concurrency_limit_get_a_503() -> None:
    nested = Nested(1)
    busy = nested.inner["/openapi.json"]
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
    assert busy.json() == {
        "type": "urn:events:problem:the-server-is-busy",
        "title": "The server is busy",
        "status": 503,
        "detail": "too many requests in flight: send the same request again, that is safe",
        "errors": [],
    }
    # Health checks are always answered, and everything once there is room.
    assert [
        answer.status_code for answer in (nested.outer, nested.inner["/livez"], nested.after)
    ] == [
        200,
        200,
        200,
    ]


def test_requests_up_to_the_concurrency_limit_are_served() -> None:
    assert Nested(2).inner["/openapi.json"].status_code == 200


# --- CORS -----------------------------------------------------------------------------------------


def cors_headers(response: Any) -> dict[str, str]:
    return {
        name: value
        for name, value in response.headers.items()
        if name.startswith("access-control-")
    }


@pytest.fixture
def open_client() -> Iterator[TestClient]:
    with client_of(app_with_routes(OPEN)) as client:
        yield client


@pytest.mark.parametrize(("path", "status"), [("/livez", 200), ("/nope", 404), ("/boom", 500)])
def test_a_page_of_a_configured_origin_may_read_answers_and_errors(
    open_client: TestClient, path: str, status: int
) -> None:
    response = open_client.get(path, headers={"Origin": APP_ORIGIN})
    assert response.status_code == status
    assert cors_headers(response) == {
        "access-control-allow-origin": APP_ORIGIN,
        "access-control-expose-headers": "X-Request-ID, Retry-After, Link",
    }
    assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "https://app.example.com.evil.com",
        "http://app.example.com",
        "null",
    ],
)
def test_a_page_of_another_origin_may_not_read_answers(
    open_client: TestClient, origin: str
) -> None:
    response = open_client.get("/livez", headers={"Origin": origin})
    assert "access-control-allow-origin" not in response.headers
    assert response.headers["vary"] == "Origin"


def test_a_preflight_request_needs_no_key(
    open_client: TestClient,
) -> None:
    response = open_client.options(
        "/events/customers",
        headers={
            "Origin": APP_ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, x-request-id",
        },
    )
    assert response.status_code == 200
    assert "access-control-allow-credentials" not in response.headers
    headers = cors_headers(response)
    assert headers["access-control-allow-origin"] == APP_ORIGIN
    assert headers["access-control-allow-methods"] == "GET, POST, DELETE"
    assert {"Authorization", "Content-Type", "Content-Encoding", "X-Request-ID"} <= set(
        headers["access-control-allow-headers"].split(", ")
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.com", "Access-Control-Request-Method": "GET"},
        {"Origin": APP_ORIGIN, "Access-Control-Request-Method": "PUT"},
    ],
)
def test_a_preflight_request_for_more_is_refused(
    open_client: TestClient, headers: dict[str, str]
) -> None:
    response = open_client.options("/events/customers", headers=headers)
    assert response.status_code == 400
    assert {**SECURE}.items() <= dict(response.headers).items()


def test_without_origins_there_are_no_cors_headers(client: TestClient) -> None:
    response = client.get("/livez", headers={"Origin": "http://localhost:3000"})
    assert (response.status_code, cors_headers(response)) == (200, {})
    assert "vary" not in response.headers
