"""Counting and reading raw events, on every store."""

from __future__ import annotations

import random

import pytest

from events.domain.windows import ALL_TIME, EARLIEST, LATEST
from events.models import Window
from tests.store.helpers import write_all
from tests.support.backdoor import Subject
from tests.support.factories import (
    HOUR,
    HOUR_ZERO,
    MICROSECOND,
    batches,
    event,
    expected_contents,
    many_events,
    stored_key,
)

AT = HOUR_ZERO + 10 * HOUR
UNTIL = AT + HOUR


def test_a_window_includes_its_start_and_excludes_its_end(subject: Subject) -> None:
    times = {
        "first": EARLIEST,
        "start-": AT - MICROSECOND,
        "start": AT,
        "start+": AT + MICROSECOND,
        "middle": AT + HOUR / 2,
        "end-": UNTIL - MICROSECOND,
        "end": UNTIL,
        "end+": UNTIL + MICROSECOND,
        "last-": LATEST - MICROSECOND,
        "last": LATEST,
    }
    expected = {
        Window(AT, UNTIL): ["start", "start+", "middle", "end-"],
        Window(AT + MICROSECOND, UNTIL): ["start+", "middle", "end-"],
        Window(AT - MICROSECOND, UNTIL + MICROSECOND): [
            "start-", "start", "start+", "middle", "end-", "end",
        ],
        Window(AT, AT + MICROSECOND): ["start"],
        Window(UNTIL - MICROSECOND, UNTIL): ["end-"],
        Window(AT, AT): [],
        Window(AT + 2 * MICROSECOND, AT + 3 * MICROSECOND): [],
        Window(UNTIL + MICROSECOND, LATEST - MICROSECOND): ["end+"],
        # A window that ends at the latest instant includes events at this instant.
        Window(LATEST - MICROSECOND, LATEST): ["last-", "last"],
        Window(EARLIEST, EARLIEST + MICROSECOND): ["first"],
        Window(EARLIEST, AT): ["first", "start-"],
        ALL_TIME: list(times),
    }  # fmt: skip
    events = [event("t", event_type=name, timestamp=at) for name, at in times.items()]
    write_all(subject, [*events, event("t", customer_id="another", timestamp=AT)])
    store = subject.store
    assert {
        window: [item.event_type for item in store.counted_events("acme", window) if item in events]
        for window in expected
    } == expected
    assert store.count_events("acme", list(expected)) == [len(item) for item in expected.values()]
    assert store.count_events_by_type("acme", list(expected)) == [
        dict.fromkeys(names, 1) for names in expected.values()
    ]


def test_many_windows_are_counted_in_order(subject: Subject) -> None:
    rng = random.Random(5)
    events = many_events(200, event_types=3, hours=30)
    write_all(subject, events)
    windows = [
        Window(start, start + rng.randrange(1, 600) * HOUR / 60)
        for start in (HOUR_ZERO + rng.randrange(1_800) * HOUR / 60 for _ in range(40))
    ]
    inside = [[item for item in events if w.start <= item.timestamp < w.end] for w in windows]
    assert subject.store.count_events("customer-0", windows) == [len(item) for item in inside]
    assert subject.store.count_events_by_type("customer-0", windows) == [
        {
            event_type: sum(item.event_type == event_type for item in group)
            for event_type in {item.event_type for item in group}
        }
        for group in inside
    ]
    assert subject.store.count_events("customer-0", []) == []
    assert subject.store.count_events("nobody", windows) == [0] * 40
    assert subject.store.count_events_by_type("nobody", windows) == [{}] * 40


def test_reads_continue_after_a_page_of_one_megabyte(subject: Subject) -> None:
    customer_id = "c" * 2048
    events = [
        event(
            f"{index:04d}" + "t" * 900,
            customer_id=customer_id,
            event_type=f"type-{index % 2}",
            timestamp=HOUR_ZERO + index * MICROSECOND,
        )
        for index in range(800)
    ]
    for batch in batches(events):
        subject.store.write(batch)
    window = Window(HOUR_ZERO, HOUR_ZERO + HOUR)
    assert list(subject.store.counted_events(customer_id, window)) == events
    assert list(subject.store.counted_events(customer_id)) == events
    assert subject.store.count_events(customer_id, [window]) == [800]
    assert subject.store.count_events_by_type(customer_id, [window]) == [
        {"type-0": 400, "type-1": 400}
    ]
    assert subject.tables.contents() == expected_contents(events)


FOREIGN_KEYS = [
    "x",
    "zzz",
    "2021-03-01",
    "2021-03-01T00:00:00.000000Z",
    "2021-03-01T00:00:00.000000Z-",
    "2021-03-01T00:00:00.000000Z-api_call",
    "2021-03-01T00:00:00.000000Z-api%_call-t-1",
    "2021-03-01T00:00:00.000000Z-api%2d-t-1",
    "2021-03-01T00:00:00.000000Z_api_call-t-1",
    "2021-03-01 00:00:00.000000Z-api_call-t-1",
    "2021-03-01T00:00:00.0000000-api_call-t-1",
    "2021-03-01T25:00:00.000000Z-api_call-t-1",
    "\U0010ffff" * 256,
]


def test_events_are_in_order_of_time(subject: Subject) -> None:
    rng = random.Random(1)
    events = many_events(120, hours=72, event_types=9)
    rng.shuffle(events)
    write_all(subject, events)
    in_order = sorted(events, key=lambda item: item.timestamp)
    assert list(subject.store.counted_events("customer-0")) == in_order
    window = Window(HOUR_ZERO + HOUR / 3, HOUR_ZERO + 31 * HOUR + MICROSECOND)
    assert list(subject.store.counted_events("customer-0", window)) == [
        item for item in in_order if window.start <= item.timestamp < window.end
    ]


def test_events_at_the_same_instant_are_in_order_of_types(subject: Subject) -> None:
    events = [
        event(name, event_type=event_type) for event_type in ("b", "a", "A", "é") for name in "zay"
    ]
    subject.store.write(events)
    assert list(subject.store.counted_events("acme")) == sorted(events, key=stored_key)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(FOREIGN_KEYS, id="of many kinds"),
        pytest.param(["2021-03-01T00:00:00.000000Z--t-1"], id="no type"),
        pytest.param(["2021-03-01T00:00:00.000000Z-api_call-"], id="no transaction"),
        pytest.param(["0001-01-01T00:00:00.0+14:00-api_call-t-1"], id="before the first year"),
        pytest.param(["9999-12-31T23:00:00.0-14:00-api_call-t-1"], id="after the last year"),
        pytest.param(["\x01", "\x1f2021"], id="before the first printable character"),
    ],
)
def test_an_item_that_is_not_an_event_is_reported_by_its_key(
    subject: Subject, keys: list[str]
) -> None:
    events = [event("t-1"), event("t-2", timestamp=LATEST)]
    write_all(subject, events)
    stored = [key for key in keys if subject.tables.put_foreign("acme", key)]
    foreign: list[str] = []
    assert list(subject.store.counted_events("acme", on_foreign=foreign.append)) == events
    assert sorted(foreign) == sorted(stored)


def test_an_item_that_is_not_an_event_has_no_type(subject: Subject) -> None:
    subject.store.write([event("t-1")])
    subject.tables.put_foreign("acme", "2021-03-01T00:10:00.000000Z-api%_call-t-1")
    window = Window(HOUR_ZERO, HOUR_ZERO + HOUR)
    assert subject.store.count_events_by_type("acme", [window]) == [{"api_call": 1}]
    assert list(subject.store.counted_events("acme", window)) == [event("t-1")]
