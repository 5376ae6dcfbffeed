"""One log line and the metrics of each request."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import FastAPI, Request
from prometheus_client import REGISTRY

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


def test_the_log_has_the_route_and_the_path_as_it_was_sent(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    size = len(client_of(app).post("/events/customers/a%2Fb%0A/buckets").content)
    path = "/events/customers/a%2Fb%0A/buckets"
    assert lines_of(caplog) == [line("POST", BUCKETS, 405, size, path=path)]


def test_a_long_path_is_cut_in_the_log(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    client_of(app).get("/" + "x" * 5_000)
    assert [line["path"] for line in lines_of(caplog)] == ["/" + "x" * 1_023 + "…"]


# --- metrics --------------------------------------------------------------------------------------


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


def test_callers_cannot_add_metric_labels(app: FastAPI) -> None:
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
