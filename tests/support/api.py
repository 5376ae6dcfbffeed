"""Ask the HTTP API in process, and compare its answers as whole values."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.testclient import TestClient

from events.app import create_app
from events.config import Settings
from events.models import Event
from events.service import EventService, Store
from tests.support.factories import time_text
from tests.support.served import client_of

Json = dict[str, Any]
DAY_ONE = "start=2021-03-01&end=2021-03-02"
#: Stands for a time that a test cannot know, once its format has been checked.
AT = "<a time in UTC>"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z")


class Api(NamedTuple):
    """An application that is up, and a client on the same machine."""

    client: TestClient
    app: FastAPI

    @property
    def service(self) -> EventService:
        service: EventService = self.app.state.service
        return service

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    def buckets(self, query: str, *, customer_id: str = "acme", **headers: str) -> Any:
        return self.get(f"{customer_path(customer_id)}/buckets?{query}", **headers)

    def post(self, body: object, path: str = "/events", **headers: str) -> Any:
        """POST a body; a header like `Content_Type` is sent as `Content-Type`."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(
            path, content=content, headers={"Content-Type": "application/json", **names}
        )

    def send(self, *events: Event | object) -> Any:
        """POST these events as JSON."""
        return self.post({"events": documents(*events)})

    def void(self, *events: Event | object, reason: object = "a test") -> Any:
        return self.post({"reason": reason, "events": documents(*events)}, "/events/void")


@contextmanager
def serving(settings: Settings, store: Store | None = None) -> Iterator[Api]:
    """The API on a store of the test, or, without one, on the DynamoDB of the settings."""
    if store is None:
        app = create_app(settings)
    else:
        app = create_app(settings, make_service=lambda _: EventService(store, write_threads=4))
    with client_of(app) as client:
        yield Api(client, app)


def customer_path(customer_id: str) -> str:
    return f"/events/customers/{quote(customer_id, safe='')}"


def document(event: Event) -> Json:
    """An event as a JSON object of the API."""
    return {
        "customer_id": event.customer_id,
        "event_type": event.event_type,
        "transaction_id": event.transaction_id,
        "timestamp": time_text(event.timestamp),
    }


def documents(*events: Event | object) -> list[object]:
    return [document(event) if isinstance(event, Event) else event for event in events]


def receipts(*statuses: str) -> list[Json]:
    return [{"index": index, "status": status} for index, status in enumerate(statuses)]


# --- good answers ---------------------------------------------------------------------------------


def bucket(hour: str, count: int, *, partial: bool = False, **counts: dict[str, int]) -> Json:
    """The bucket of an hour like `2021-03-01T05`."""
    return {
        "ts_start_of_hour": f"{hour}:00:00.000000Z",
        "count": count,
        "partial": partial,
        **counts,
    }


def answer(
    start: str,
    end: str,
    buckets: list[Json],
    *,
    customer_id: str = "acme",
    total: int | None = None,
    last_ingested_at: str | None = AT,
    next_page: str | None = None,
) -> Json:
    """A whole answer of the buckets route; times are like `2021-03-01T05:30` or complete."""
    return {
        "customer_id": customer_id,
        "start": start if start.endswith("Z") else f"{start}:00.000000Z",
        "end": end if end.endswith("Z") else f"{end}:00.000000Z",
        "total": sum(bucket["count"] for bucket in buckets) if total is None else total,
        "last_ingested_at": last_ingested_at,
        "buckets": buckets,
        "next": next_page,
    }


def settled(response: Any) -> Json:
    """The body of a good answer, with `AT` in place of the time of the last change."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    body: Json = response.json()
    if body["last_ingested_at"] is not None:
        assert _TIME.fullmatch(body["last_ingested_at"])
        body["last_ingested_at"] = AT
    return body


def all_pages(api: Api, query: str, *, customer_id: str = "acme") -> Iterator[Json]:
    page = settled(api.buckets(query, customer_id=customer_id))
    yield page
    while (cursor := page["next"]) is not None:
        page = settled(api.buckets(f"{query}&cursor={cursor}", customer_id=customer_id))
        assert page["next"] != cursor, "the same page again"
        yield page


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


# --- errors ---------------------------------------------------------------------------------------


def problem(response: Any) -> Json:
    """The body of an error."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: Json = response.json()
    assert body["status"] == response.status_code
    return body


def errors_of(response: Any) -> dict[str, str]:
    """Field to detail of a 400."""
    body = problem(response)
    assert response.status_code == 400
    return {error["field"]: error["detail"] for error in body["errors"]}


def bad_request(**errors: str) -> Json:
    """A 400 that names these fields, in this order."""
    return {
        "type": "urn:events:problem:bad-request",
        "title": "Invalid request",
        "status": 400,
        "detail": "; ".join(f"{field}: {detail}" for field, detail in errors.items()),
        "errors": [{"field": field, "detail": detail} for field, detail in errors.items()],
    }


NOT_FOUND: Json = {
    "type": "urn:events:problem:not-found",
    "title": "Not found",
    "status": 404,
    "detail": "no such path: /openapi.json lists all paths",
    "errors": [],
}
NOT_ALLOWED: Json = {
    "type": "urn:events:problem:method-not-allowed",
    "title": "Method not allowed",
    "status": 405,
    "detail": "Method Not Allowed",
    "errors": [],
}
OUR_FAULT: Json = {
    "type": "urn:events:problem:internal-server-error",
    "title": "Internal error",
    "status": 500,
    "detail": "the service failed: see its log",
    "errors": [],
}
STORE_DOWN: Json = {
    "type": "urn:events:problem:service-unavailable",
    "title": "Store not available",
    "status": 503,
    "detail": "the store did not answer in time: send the same request again, that is safe",
    "errors": [],
}

NOT_AN_INSTANT = "is not an ISO 8601 date and time like 2021-03-01T00:00:00Z"
NOT_A_NUMBER = "is not a whole number"
INVALID_CURSOR = "invalid cursor: pass the previous page's `next` unchanged"
UNKNOWN_PARAMETER = "unknown query parameter"
