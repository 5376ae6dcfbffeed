"""Looking up stored events, on every store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from events.datamodels import event_key
from events.domain.windows import ALL_TIME
from events.errors import InvalidWindow
from events.models import StoredEvent, Window
from events.queries.lookup import MOST_LOOKED_AT, EventQuery, find
from events.service import EventService
from tests.support.backdoor import Subject
from tests.support.factories import HOUR, HOUR_ZERO, event


def look(service: EventService, **query: object) -> list[str]:
    """Transaction ids of all pages, in order."""
    ids: list[str] = []
    after: str | None = None
    for _ in range(1_000):
        fields = {"customer_id": "acme", "window": ALL_TIME, **query, "after": after}
        page = service.events(EventQuery(**fields))  # type: ignore[arg-type] # as the tests give them
        ids += [stored.event.transaction_id for stored in page.events]
        after = page.next_after
        if after is None:
            return ids
    raise AssertionError("the pages never end")


def test_a_stored_event_has_its_times_and_its_void_reason(
    service: EventService,
) -> None:
    service.ingest([event("a"), event("b", timestamp=HOUR_ZERO + HOUR)])
    service.void([event("b", timestamp=HOUR_ZERO + HOUR)], reason="a test")
    page = service.events(EventQuery("acme", ALL_TIME))
    assert page.next_after is None
    first, second = page.events
    assert first == StoredEvent(event("a"), first.ingested_at, None, None)
    assert second == StoredEvent(
        event("b", timestamp=HOUR_ZERO + HOUR), second.ingested_at, second.voided_at, "a test"
    )
    assert first.ingested_at <= (second.voided_at or datetime.min.replace(tzinfo=UTC))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 11])
@pytest.mark.parametrize("is_newest_first", [False, True])
def test_pages_of_any_size_return_each_event_once_in_order(
    service: EventService, limit: int, is_newest_first: bool
) -> None:
    events = [event(f"t-{n:02d}", timestamp=HOUR_ZERO + (n // 3) * HOUR) for n in range(10)]
    service.ingest([*events, event("other", customer_id="acme2")])
    names = [item.transaction_id for item in events]
    ids = look(service, limit=limit, is_newest_first=is_newest_first)
    assert ids == (names[::-1] if is_newest_first else names)


@pytest.mark.parametrize("hours", [-1, 2])
def test_a_cursor_outside_the_window_is_refused(service: EventService, hours: int) -> None:
    service.ingest([event(), event("later", timestamp=HOUR_ZERO + HOUR)])
    after = event_key(event(timestamp=HOUR_ZERO + hours * HOUR))
    window = Window(HOUR_ZERO, HOUR_ZERO + 2 * HOUR)
    with pytest.raises(InvalidWindow, match="invalid cursor"):
        service.events(EventQuery("acme", window, after=after))


def test_a_window_and_filters_select_events(service: EventService) -> None:
    events = [
        event(f"t-{n}", event_type=f"type-{n % 3}", timestamp=HOUR_ZERO + n * HOUR)
        for n in range(12)
    ]
    service.ingest(events)
    window = Window(HOUR_ZERO + 2 * HOUR, HOUR_ZERO + 9 * HOUR)
    assert look(service, window=window) == [f"t-{n}" for n in range(2, 9)]
    assert look(service, window=window, is_newest_first=True, limit=2) == [
        f"t-{n}" for n in range(8, 1, -1)
    ]
    types = frozenset({"type-1", "type-2"})
    assert look(service, window=window, event_types=types, limit=2) == [
        "t-2",
        "t-4",
        "t-5",
        "t-7",
        "t-8",
    ]
    assert look(service, transaction_id="t-7") == ["t-7"]
    assert look(service, transaction_id="t-7", window=window, event_types=types) == ["t-7"]
    assert look(service, transaction_id="t-11", window=window) == []
    assert look(service, customer_id="nobody") == []


def test_one_query_reads_a_bounded_number_of_events() -> None:
    class Endless:
        def __init__(self) -> None:
            self.looked_at = 0

        def stored_events(self, *_: object, **__: object) -> Iterator[tuple[str, StoredEvent]]:
            while True:
                self.looked_at += 1
                yield f"key-{self.looked_at}", StoredEvent(event("x"), HOUR_ZERO)

    store = Endless()
    page = find(store, EventQuery("acme", ALL_TIME, transaction_id="y"))
    assert (page.events, page.next_after) == ((), f"key-{MOST_LOOKED_AT}")
    assert store.looked_at == MOST_LOOKED_AT + 1


def test_an_item_that_is_not_an_event_is_skipped(subject: Subject, service: EventService) -> None:
    service.ingest([event("a"), event("b")])
    subject.tables.put_foreign("acme", "2021-03-01T00:00:00.000000Z-no")
    assert look(service, limit=1) == ["a", "b"]
