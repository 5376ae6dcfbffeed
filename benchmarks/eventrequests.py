"""Events as requests to a fresh API, and proof that all of them are stored and counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

from benchmarks.clients import Clients, Request, Sent
from benchmarks.serving import api
from events.bootstrap import make_service
from events.config import Settings
from events.models import Event

START = datetime(2021, 3, 1, tzinfo=UTC)


def send(
    settings: Settings, senders: Clients, requests: Sequence[Request], *, clients: int, events: int
) -> Sent:
    """Send requests with so many events to a fresh API, and check the result."""
    with api(settings) as port:
        sent = senders.send(port, requests, clients=clients)
    check(settings, events)
    return sent


def check(settings: Settings, events: int) -> None:
    """Raise unless exactly so many events are stored and every counter is right."""
    service = make_service(settings, patience_seconds=60, may_make_tables=False)
    with closing(service):
        result = service.verify()
    if not result.is_equal or result.events != events:
        raise RuntimeError(f"{result.events:,} events, not {events:,}, or a counter is wrong")


def fill(settings: Settings, events: Sequence[Event]) -> None:
    with closing(make_service(settings, patience_seconds=60)) as service:
        service.ingest(events)


def requests_of(events: Sequence[Event], batch: int) -> list[Request]:
    """POST requests with `batch` events each, and how a good answer starts."""
    requests = []
    for start in range(0, len(events), batch):
        rows = events[start : start + batch]
        documents = [
            {**event._asdict(), "timestamp": event.timestamp.isoformat()} for event in rows
        ]
        body = json.dumps({"events": documents}).encode()
        requests.append(Request("/events", body, b'{"inserted":%d,' % len(rows)))
    return requests


def spread_over(customer_id: str, number: int, *, days: int) -> list[Event]:
    """Events of one customer, evenly spread over some days."""
    step = timedelta(days=days) / max(1, number)
    return [
        Event(customer_id, "page_view", f"{index:09d}", START + index * step)
        for index in range(number)
    ]
