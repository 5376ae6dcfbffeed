"""One log line and the measures of each request, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import pytest
from fastapi import FastAPI, Request
from prometheus_client import REGISTRY
from starlette.types import Message

from events.app import create_app
from events.config import Settings
from tests.support.served import client_of

FIELDS = ("method", "route", "path", "status", "bytes_out", "client", "key_id")
BUCKETS = "/events/customers/{customer_id}/buckets"


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "events")


@pytest.fixture
def app() -> FastAPI:
    app = create_app(Settings())

    @app.get("/keyed")
    def get_keyed(request: Request) -> str:
        request.scope["state"]["key_id"] = "k1"
        return "keyed"

    @app.post("/read")
    async def post_read(request: Request) -> int:
        return len(await request.body())

    @app.get("/boom")
    def get_boom() -> None:
        raise RuntimeError

    return app


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        {name: record.__dict__[name] for name in FIELDS}
        for record in caplog.records
        if record.name == "events.api.accesslog"
    ]


def line(method: str, route: str, status: int, bytes_out: int, **other: Any) -> dict[str, Any]:
    return {
        "method": method,
        "route": route,
        "path": route,
        "status": status,
        "bytes_out": bytes_out,
        "client": "127.0.0.1",
        "key_id": None,
        **other,
    }


def requests(method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("events_http_requests_total", labels) or 0


def timed(method: str, route: str) -> float:
    labels = {"method": method, "route": route}
    return REGISTRY.get_sample_value("events_http_request_seconds_count", labels) or 0


# --- the log line ---------------------------------------------------------------------------------


def test_each_request_is_one_line(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    client = client_of(app)
    client.get("/livez?secret=1")
    client.head("/livez")
    client.get("/keyed")
    sizes = [len(client.get(path).content) for path in ("/no%0Apath", "/boom")]
    assert lines_of(caplog) == [
        line("GET", "/livez", 200, 15),
        line("HEAD", "/livez", 200, 0),
        line("GET", "/keyed", 200, 7, key_id="k1"),
        line("GET", "unmatched", 404, sizes[0], path="/no%0Apath"),
        line("GET", "/boom", 500, sizes[1]),
    ]
    assert "secret" not in caplog.text


def test_a_route_is_named_by_its_template_and_the_path_stays_as_it_was_sent(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    size = len(client_of(app).post("/events/customers/a%2Fb%0A/buckets").content)
    path = "/events/customers/a%2Fb%0A/buckets"
    assert lines_of(caplog) == [line("POST", BUCKETS, 405, size, path=path)]


def test_a_long_path_is_cut_in_the_log(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    client_of(app).get("/" + "x" * 5_000)
    assert [each["path"] for each in lines_of(caplog)] == ["/" + "x" * 1_023 + "…"]


# --- measures -------------------------------------------------------------------------------------


def test_requests_are_counted_and_timed_by_route(app: FastAPI) -> None:
    client = client_of(app)
    before = requests("GET", "/livez", 200), timed("GET", "/livez"), requests("GET", "/boom", 500)
    client.get("/livez")
    client.get("/livez?x=1")
    client.get("/boom")
    after = requests("GET", "/livez", 200), timed("GET", "/livez"), requests("GET", "/boom", 500)
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 2, 1]
    assert REGISTRY.get_sample_value("events_http_requests_under_way") == 0


def label_sets() -> set[tuple[str, ...]]:
    return {
        tuple(sample.labels.values())
        for metric in REGISTRY.collect()
        if metric.name.startswith("events_http")
        for sample in metric.samples
    }


def test_whatever_is_sent_the_labels_stay_few(app: FastAPI) -> None:
    client = client_of(app)
    client.request("BREW", "/livez")
    client.get("/nope")
    before = label_sets()
    for number in range(20):
        client.request(f"BREW{number}", "/livez")
        client.get(f"/nope/{number}")
    assert label_sets() == before
    assert requests("other", "/livez", 405) >= 21
    assert requests("GET", "unmatched", 404) >= 21


# --- clients that go away -------------------------------------------------------------------------

DISCONNECT: Message = {"type": "http.disconnect"}


def exchange(
    app: FastAPI, method: str, path: str, *messages: Message, length: int = 0
) -> list[Any]:
    """What the application sends to a client that sends these messages, as uvicorn does it."""
    left = deque(messages)
    sent: list[Any] = []

    async def receive() -> Message:
        if not left:  # the client is there and says nothing
            await asyncio.get_running_loop().create_future()
        return left[0] if left[0] is DISCONNECT else left.popleft()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", str(length).encode())],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 10))
    return sent


def request_message(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_client_that_went_before_its_answer_is_logged_as_such(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    before = requests("GET", "/keyed", 499)
    exchange(app, "GET", "/keyed", request_message(b""), DISCONNECT)
    assert [(each["route"], each["status"]) for each in lines_of(caplog)] == [("/keyed", 499)]
    assert requests("GET", "/keyed", 499) - before == 1


def test_a_client_that_stays_is_not(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    sent = exchange(app, "GET", "/keyed", request_message(b""))
    assert [each["type"] for each in sent] == ["http.response.start", "http.response.body"]
    assert [each["status"] for each in lines_of(caplog)] == [200]


def test_a_body_cut_off_is_logged_as_such(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    exchange(app, "POST", "/read", request_message(b"12", more=True), DISCONNECT, length=4)
    assert [(each["route"], each["status"]) for each in lines_of(caplog)] == [("/read", 499)]


def test_a_body_comes_whole_to_the_route(app: FastAPI) -> None:
    sent = exchange(
        app, "POST", "/read", request_message(b"12", more=True), request_message(b"34"), length=4
    )
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"4")


def test_a_body_that_nobody_reads_is_not_waited_for(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    exchange(app, "POST", "/nope", length=4)
    assert [each["status"] for each in lines_of(caplog)] == [404]
