"""Voiding events, on every store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from events.models import BucketQuery, Outcome, Window
from events.service import EventService
from tests.support.backdoor import Subject
from tests.support.factories import (
    DAY,
    HOUR,
    HOUR_ZERO,
    Contents,
    event,
    expected_contents,
    many_events,
    stored_key,
)

INSERTED, DUPLICATE, VOIDED = Outcome.INSERTED, Outcome.DUPLICATE, Outcome.VOIDED
ALREADY_VOIDED, NOT_FOUND = Outcome.ALREADY_VOIDED, Outcome.NOT_FOUND


def test_voided_events_stay_stored_but_do_not_count(
    subject: Subject, service: EventService
) -> None:
    events = many_events(40, customers=2, hours=48, event_types=3)
    service.ingest(events)
    gone = events[::3]
    assert service.void(gone, reason="test run") == [VOIDED] * len(gone)
    assert subject.tables.contents() == expected_contents(events, voided=gone, reason="test run")
    assert service.verify().is_equal


def test_a_late_retry_does_not_bring_a_voided_event_back(
    subject: Subject, service: EventService
) -> None:
    events = many_events(5)
    service.ingest(events)
    service.void(events[:2], reason="wrong")
    new = event("new")
    for _ in range(2):
        outcomes = service.ingest([*events, new])
        assert outcomes[:5] == [VOIDED, VOIDED, DUPLICATE, DUPLICATE, DUPLICATE]
    assert subject.tables.contents() == expected_contents(
        [*events, new], voided=events[:2], reason="wrong"
    )


def test_voiding_again_keeps_the_first_reason(subject: Subject, service: EventService) -> None:
    service.ingest([event("a"), event("b")])
    assert service.void([event("a")], reason="first") == [VOIDED]
    before = subject.tables.contents()
    assert service.void([event("a"), event("a")], reason="second") == [ALREADY_VOIDED] * 2
    assert subject.tables.contents() == before
    assert before.voided == [("acme", "2021-03-01T00:00:00.000000Z-api_call-a", "first")]


def test_voiding_an_unknown_event_leaves_no_trace(subject: Subject, service: EventService) -> None:
    assert service.void([event("a")], reason="x") == [NOT_FOUND]
    assert subject.tables.contents() == Contents()
    service.ingest([event("a")])
    other = [
        event("b"),
        event("a", event_type="other"),
        event("a", customer_id="other"),
        event("a", timestamp=HOUR_ZERO + timedelta(microseconds=1)),
    ]
    assert service.void([*other, event("a")], reason="x") == [NOT_FOUND] * 4 + [VOIDED]
    assert subject.tables.contents() == expected_contents(
        [event("a")], voided=[event("a")], reason="x"
    )
    assert service.ingest([event("b")]) == [INSERTED]


def test_buckets_partial_hours_and_totals_exclude_voided_events(service: EventService) -> None:
    events = [event(f"t-{n}", timestamp=HOUR_ZERO + n * timedelta(minutes=10)) for n in range(12)]
    service.ingest(events)
    service.void([events[1], events[4], events[7]], reason="x")
    window = Window(HOUR_ZERO + timedelta(minutes=5), HOUR_ZERO + timedelta(minutes=75))
    for query in (
        BucketQuery("acme", window),
        BucketQuery("acme", window, is_grouped=True),
        BucketQuery("acme", window, event_types=frozenset({"api_call"})),
    ):
        page = service.buckets(query)
        # 10 to 50 minutes without 10 and 40; 60 and 70 without 70.
        assert [(bucket.start, bucket.count) for bucket in page.buckets] == [
            (HOUR_ZERO, 3),
            (HOUR_ZERO + HOUR, 1),
        ]
    assert service.customers(limit=10).customers[0].total == 9


def test_an_hour_with_only_voided_events_has_no_bucket(service: EventService) -> None:
    service.ingest([event("a"), event("b", timestamp=HOUR_ZERO + HOUR)])
    service.void([event("a")], reason="x")
    page = service.buckets(BucketQuery("acme", Window(HOUR_ZERO, HOUR_ZERO + DAY)))
    assert [bucket.start for bucket in page.buckets] == [HOUR_ZERO + HOUR]


@pytest.mark.slow
def test_threads_that_store_and_void_the_same_events_stay_exact(
    subject: Subject, service: EventService
) -> None:
    events = many_events(300, hours=3)

    def work(number: int) -> list[Outcome]:
        mine = events[number::2] + events[:50]
        return service.void(mine, reason="x") if number % 2 else service.ingest(mine)

    with ThreadPoolExecutor(8) as threads:
        receipts = list(threads.map(work, [0, 1, 0, 1, 1, 0, 1, 0]))
    contents = subject.tables.contents()
    stored = set(contents.events)
    voided = [
        item
        for item in events
        if ("customer-0", stored_key(item)) in {(name, key) for name, key, _ in contents.voided}
    ]
    kept = [item for item in events if ("customer-0", stored_key(item)) in stored]
    assert contents == expected_contents(kept, voided=voided, reason="x")
    assert sum(item.count(INSERTED) for item in receipts) == len(kept)
    assert sum(item.count(VOIDED) for item in receipts[1::2]) >= len(voided) / 2
    assert service.verify().is_equal
