"""What every store does: the same tests on the fake in memory and on DynamoDB."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from events.dao import DynamoStore
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.domain.windows import EARLIEST, LATEST
from events.models import DayCounts, Event, Outcome, Window
from tests.support.factories import (
    DAY,
    DAY_ZERO,
    HOUR,
    HOUR_ZERO,
    MICROSECOND,
    Contents,
    batches,
    days_of,
    event,
    expected_contents,
    many_events,
    stored_key,
)
from tests.support.fakes import Subject
from tests.support.pool import TablePool

if TYPE_CHECKING:
    pass


INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE
ALL_TIME = Window(EARLIEST, LATEST)
#: Characters that mean something to a key, an address, a pattern or a sort order.
ODD_TYPES = [
    "a#b", "a-b", "a%b", "a%2Db", "a%25b", "#", "-", "--", "%", "total#2021-03-01", "a b", "a/b",
    "!", "$", "~", "é", "e\u0301", "日本", "\ufffd", "😀", "NULL", "0",
]  # fmt: skip
ODD_CUSTOMERS = [
    "!", "%", "%25", "/", "a", "a b", "a#b", "a%2Fb", "a-b", "a/b", "A", "Z", "~", "é", "e\u0301",
    "ÿ", "日本", "\ufffd", "😀", "../..", "?x=1&y", "'\"", "customers", "l" * 2048, "日" * 682,
    "m" * 1025, "n" * 1024, "o" * 1023,
]  # fmt: skip


def write_all(
    subject: Subject, events: Iterable[Event], *, already: Iterable[Event] = ()
) -> list[Outcome]:
    """
    Write distinct events in the order of their customers and days.

    After each write the tables are held against a recount of all that was written, `already`
    included.
    """
    known = list(already)
    outcomes: list[Outcome] = []
    for group in days_of(events):
        for batch in batches(group):
            outcomes += subject.store.write(batch)
            known += batch
            assert subject.tables.contents() == expected_contents(known)
    return outcomes


def day_counts(
    subject: Subject, first_day: str, last_day: str, *, by_type: bool, customer_id: str = "acme"
) -> list[tuple[str, str | None, dict[int, int]]]:
    return [
        (each.day, each.event_type, dict(each.hours))
        for each in subject.store.day_counts(customer_id, first_day, last_day, by_type=by_type)
    ]


# --- writing --------------------------------------------------------------------------------------


def test_a_new_event_is_stored_counted_and_listed(subject: Subject) -> None:
    assert subject.tables.contents() == Contents()
    assert subject.store.write([event("t-1", timestamp=HOUR_ZERO + 3 * HOUR)]) == [INSERTED]
    assert subject.tables.contents() == Contents(
        events=[("acme", "2021-03-01T03:00:00.000000Z-api_call-t-1")],
        counters={
            ("acme", "total#2021-03-01"): {"h03": 1},
            ("acme", "type#2021-03-01#api_call"): {"h03": 1},
        },
        customers=["acme"],
    )


def test_an_event_is_a_duplicate_however_often_it_comes_again(subject: Subject) -> None:
    events = many_events(7)
    assert write_all(subject, events) == [INSERTED] * 7
    for _ in range(3):
        assert write_all(subject, events, already=events) == [DUPLICATE] * 7


def test_outcomes_follow_the_order_of_the_events_among_old_and_new(subject: Subject) -> None:
    events = many_events(60)
    subject.store.write(events[::3])
    outcomes = subject.store.write(events)
    assert outcomes == [INSERTED if place % 3 else DUPLICATE for place in range(60)]
    assert subject.tables.contents() == expected_contents(events)


def test_an_event_that_differs_in_one_field_is_another(subject: Subject) -> None:
    events = [
        event(),
        event(timestamp=HOUR_ZERO + MICROSECOND),
        event(timestamp=HOUR_ZERO + 400 * DAY),
        event(customer_id="Acme"),
        event(event_type="api_call%"),
        event(transaction_id="T-0"),
        event(transaction_id="t-0-"),
    ]
    assert write_all(subject, events) == [INSERTED] * 7
    assert write_all(subject, events, already=events) == [DUPLICATE] * 7


def test_fields_that_run_together_alike_are_different_events(subject: Subject) -> None:
    pairs = [("a-b", "c"), ("a", "b-c"), ("a%2Db", "c"), ("a%", "2Db-c"), ("a%25", "c")]
    events = [event(transaction, event_type=kind) for kind, transaction in pairs]
    assert subject.store.write(events) == [INSERTED] * 5
    assert subject.tables.contents() == expected_contents(events)
    assert set(subject.store.counted_events("acme", ALL_TIME)) == set(events)


def test_every_character_of_a_type_and_a_transaction_is_kept(subject: Subject) -> None:
    events = [
        event(transaction, event_type=kind)
        for kind, transaction in zip(ODD_TYPES, reversed(ODD_TYPES), strict=True)
    ]
    assert write_all(subject, events) == [INSERTED] * len(events)
    assert set(subject.store.counted_events("acme")) == set(events)
    assert day_counts(subject, DAY_ZERO, DAY_ZERO, by_type=True) == [
        (DAY_ZERO, kind, {0: 1}) for kind in sorted(ODD_TYPES)
    ]
    assert subject.store.count_events_by_type("acme", [ALL_TIME]) == [dict.fromkeys(ODD_TYPES, 1)]


def test_as_many_events_are_written_at_once_as_a_transaction_holds(subject: Subject) -> None:
    for event_types in (1, 2, 49):
        events = [
            event(f"t-{place}", event_type=f"{event_types}-{place % event_types}")
            for place in range(100 - 1 - event_types)
        ]
        assert subject.store.write(events) == [INSERTED] * len(events)
        assert subject.store.write(events) == [DUPLICATE] * len(events)
    assert day_counts(subject, DAY_ZERO, DAY_ZERO, by_type=False) == [
        (DAY_ZERO, None, {0: 98 + 97 + 50})
    ]


def test_the_longest_keys_are_stored_and_counted(subject: Subject) -> None:
    customer_id = "日" * 682 + "xx"
    room = 1024 - 29 - len("api_call")
    events = [event("é" * (room // 2) + "x" * (room % 2), customer_id=customer_id)]
    assert write_all(subject, events) == [INSERTED]
    assert write_all(subject, events, already=events) == [DUPLICATE]
    assert list(subject.store.counted_events(customer_id)) == events


def test_the_longest_type_is_stored_and_counted(subject: Subject) -> None:
    longest = "t" * (1024 - 29 - len("t-0"))
    assert write_all(subject, [event(event_type=longest)]) == [INSERTED]
    assert day_counts(subject, DAY_ZERO, DAY_ZERO, by_type=True) == [(DAY_ZERO, longest, {0: 1})]


def test_customers_and_days_are_counted_apart(subject: Subject) -> None:
    events = many_events(150, customers=5, hours=96, event_types=3)
    assert write_all(subject, events) == [INSERTED] * 150


def test_events_of_the_first_and_the_last_instant_there_is_are_counted(subject: Subject) -> None:
    events = [
        event("t-1", timestamp=EARLIEST),
        event("t-2", timestamp=LATEST - MICROSECOND),
        event("t-3", timestamp=LATEST),
        event("t-4", timestamp=datetime(476, 9, 4, 12, tzinfo=UTC)),
    ]
    assert write_all(subject, events) == [INSERTED] * 4
    assert day_counts(subject, "0001-01-01", "9999-12-31", by_type=False) == [
        ("0001-01-01", None, {0: 1}),
        ("0476-09-04", None, {12: 1}),
        ("9999-12-31", None, {23: 2}),
    ]
    assert subject.store.count_events("acme", [ALL_TIME]) == [4]


# --- counters -------------------------------------------------------------------------------------


def test_totals_are_given_from_the_first_day_to_the_last_in_order(subject: Subject) -> None:
    days = [0, 1, 2, 9, 31, 365]
    events = [
        event(f"t-{day}-{hour}", timestamp=HOUR_ZERO + day * DAY + hour * HOUR)
        for day in reversed(days)
        for hour in (0, 7, 23)
    ]
    write_all(subject, events)
    full = {0: 1, 7: 1, 23: 1}
    assert day_counts(subject, "2021-03-02", "2021-04-01", by_type=False) == [
        ("2021-03-02", None, full),
        ("2021-03-03", None, full),
        ("2021-03-10", None, full),
        ("2021-04-01", None, full),
    ]
    assert day_counts(subject, "2021-03-04", "2021-03-09", by_type=False) == []
    assert day_counts(subject, "2021-03-01", "2021-03-01", by_type=False) == [
        ("2021-03-01", None, full)
    ]


def test_counters_of_types_are_in_order_of_the_day_and_then_the_type(subject: Subject) -> None:
    events = [
        event(f"t-{day}", event_type=kind, timestamp=HOUR_ZERO + day * DAY + 5 * HOUR)
        for day in (3, 2, 1, 0)
        for kind in ODD_TYPES
    ]
    write_all(subject, events)
    assert day_counts(subject, "2021-03-02", "2021-03-03", by_type=True) == [
        (day, kind, {5: 1}) for day in ("2021-03-02", "2021-03-03") for kind in sorted(ODD_TYPES)
    ]


def test_a_counter_says_when_it_last_changed(
    table_pool: TablePool,
) -> None:
    # Of the store in memory, the unit tests of the service see to this.
    first = datetime(2021, 6, 1, tzinfo=UTC)
    clock = [first]
    with table_pool.take() as name:
        tables = Tables.named(name)
        retry = RetryPolicy(10)
        store = DynamoStore(table_pool.client, tables, retry=retry, now=lambda: clock[0])
        store.write([event("t-1", event_type="a"), event("t-2", event_type="b")])
        clock[0] = first + 7 * MICROSECOND
        store.write([event("t-3", event_type="a")])
        assert list(store.day_counts("acme", DAY_ZERO, DAY_ZERO, by_type=True)) == [
            DayCounts("acme", DAY_ZERO, "a", {0: 2}, first + 7 * MICROSECOND),
            DayCounts("acme", DAY_ZERO, "b", {0: 1}, first),
        ]
        store.close()


def test_an_hour_that_was_mended_to_zero_is_absent(subject: Subject) -> None:
    for event_type in (None, "api_call"):
        subject.tables.set_counter("acme", DAY_ZERO, event_type, {0: 0, 5: 1, 23: 0})
        found = day_counts(subject, DAY_ZERO, DAY_ZERO, by_type=event_type is not None)
        assert found == [(DAY_ZERO, event_type, {5: 1})]


def test_there_are_no_counters_of_a_customer_without_events(subject: Subject) -> None:
    subject.store.write([event(customer_id="acme-2")])
    for by_type in (False, True):
        assert day_counts(subject, "0001-01-01", "9999-12-31", by_type=by_type) == []


# --- counting raw events --------------------------------------------------------------------------

AT = HOUR_ZERO + 10 * HOUR
UNTIL = AT + HOUR


def test_a_window_takes_in_its_start_and_leaves_out_its_end(subject: Subject) -> None:
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
        # The latest instant ends no window: nothing later could take in its events.
        Window(LATEST - MICROSECOND, LATEST): ["last-", "last"],
        Window(EARLIEST, EARLIEST + MICROSECOND): ["first"],
        Window(EARLIEST, AT): ["first", "start-"],
        ALL_TIME: list(times),
    }  # fmt: skip
    events = [event("t", event_type=name, timestamp=at) for name, at in times.items()]
    write_all(subject, [*events, event("t", customer_id="another", timestamp=AT)])
    store = subject.store
    assert {
        window: [each.event_type for each in store.counted_events("acme", window) if each in events]
        for window in expected
    } == expected
    assert store.count_events("acme", list(expected)) == [len(each) for each in expected.values()]
    assert store.count_events_by_type("acme", list(expected)) == [
        dict.fromkeys(names, 1) for names in expected.values()
    ]


def test_many_windows_are_answered_in_the_order_asked(subject: Subject) -> None:
    rng = random.Random(5)
    events = many_events(200, event_types=3, hours=30)
    write_all(subject, events)
    windows = [
        Window(start, start + rng.randrange(1, 600) * HOUR / 60)
        for start in (HOUR_ZERO + rng.randrange(1_800) * HOUR / 60 for _ in range(40))
    ]
    inside = [[each for each in events if w.start <= each.timestamp < w.end] for w in windows]
    assert subject.store.count_events("customer-0", windows) == [len(each) for each in inside]
    assert subject.store.count_events_by_type("customer-0", windows) == [
        {
            kind: sum(each.event_type == kind for each in group)
            for kind in {each.event_type for each in group}
        }
        for group in inside
    ]
    assert subject.store.count_events("customer-0", []) == []
    assert subject.store.count_events("nobody", windows) == [0] * 40
    assert subject.store.count_events_by_type("nobody", windows) == [{}] * 40


def test_reads_go_on_past_the_megabyte_that_a_page_holds(subject: Subject) -> None:
    customer_id = "c" * 2048
    events = [
        event(
            f"{place:04d}" + "t" * 900,
            customer_id=customer_id,
            event_type=f"type-{place % 2}",
            timestamp=HOUR_ZERO + place * MICROSECOND,
        )
        for place in range(800)
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


# --- events ---------------------------------------------------------------------------------------

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


def test_events_come_in_order_of_time(subject: Subject) -> None:
    rng = random.Random(1)
    events = many_events(120, hours=72, event_types=9)
    rng.shuffle(events)
    write_all(subject, events)
    in_order = sorted(events, key=lambda each: each.timestamp)
    assert list(subject.store.counted_events("customer-0")) == in_order
    window = Window(HOUR_ZERO + HOUR / 3, HOUR_ZERO + 31 * HOUR + MICROSECOND)
    assert list(subject.store.counted_events("customer-0", window)) == [
        each for each in in_order if window.start <= each.timestamp < window.end
    ]


def test_events_of_one_instant_come_in_order_of_their_keys(subject: Subject) -> None:
    events = [event(name, event_type=kind) for kind in ("b", "a", "a-", "é") for name in "zay"]
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
    for key in keys:
        subject.tables.put_foreign("acme", key)
    foreign: list[str] = []
    assert list(subject.store.counted_events("acme", on_foreign=foreign.append)) == events
    assert sorted(foreign) == sorted(keys)


def test_an_item_that_is_not_an_event_has_no_type(subject: Subject) -> None:
    subject.store.write([event("t-1")])
    subject.tables.put_foreign("acme", "2021-03-01T00:10:00.000000Z-api%_call-t-1")
    window = Window(HOUR_ZERO, HOUR_ZERO + HOUR)
    assert subject.store.count_events_by_type("acme", [window]) == [{"api_call": 1}]
    assert list(subject.store.counted_events("acme", window)) == [event("t-1")]


# --- customers ------------------------------------------------------------------------------------


def register_all(subject: Subject, names: Sequence[str]) -> None:
    shuffled = list(names)
    random.Random(3).shuffle(shuffled)
    for name in shuffled:
        subject.store.register(name)


def walk(subject: Subject, *, prefix: str = "", limit: int) -> list[str]:
    """All pages, one after the other."""
    names: list[str] = []
    while True:
        after = names[-1] if names else None
        page = subject.store.customers(prefix=prefix, after=after, limit=limit)
        assert len(page) <= limit
        names += page
        if len(page) < limit:
            return names


def in_bytes(names: Iterable[str]) -> list[str]:
    return sorted(names, key=str.encode)


def test_customers_are_listed_in_order_of_their_bytes(subject: Subject) -> None:
    assert subject.store.customers(prefix="", after=None, limit=10) == []
    register_all(subject, ODD_CUSTOMERS)
    everybody = subject.store.customers(prefix="", after=None, limit=100)
    assert everybody == in_bytes(ODD_CUSTOMERS)
    assert subject.tables.contents() == Contents(customers=sorted(ODD_CUSTOMERS))


def test_pages_of_any_size_list_every_customer_once(subject: Subject) -> None:
    register_all(subject, ODD_CUSTOMERS)
    number = len(ODD_CUSTOMERS)
    for limit in (1, 2, 3, number - 1, number, number + 1, 100):
        assert walk(subject, limit=limit) == in_bytes(ODD_CUSTOMERS)


def test_a_prefix_lists_the_customers_that_start_with_it(subject: Subject) -> None:
    register_all(subject, ODD_CUSTOMERS)
    prefixes = [
        "a", "a/", "A", "%", "é", "e", "日", "l", "l" * 900, "l" * 901, "l" * 1024, "l" * 1025,
        "l" * 2048, "l" * 2049, "m" * 1025, "n" * 1024, "日" * 300, "日" * 301, "日" * 682,
        "nobody", "?x=1", " ", "\U0010ffff",
    ]  # fmt: skip
    assert {prefix: walk(subject, prefix=prefix, limit=2) for prefix in prefixes} == {
        prefix: in_bytes(name for name in ODD_CUSTOMERS if name.startswith(prefix))
        for prefix in prefixes
    }


def test_a_list_goes_on_after_any_text(subject: Subject) -> None:
    names = [f"{letter}{digit}" for letter in "abd" for digit in range(6)]
    register_all(subject, names)
    questions = [
        (prefix, after)
        for prefix in ("", "a", "b", "c")
        for after in ("", "a", "a5", "b", "b0", "b3", "bz", "c", "z", "é" * 600)
    ]
    assert {
        (prefix, after): subject.store.customers(prefix=prefix, after=after, limit=4)
        for prefix, after in questions
    } == {
        (prefix, after): [name for name in names if name.startswith(prefix) and name > after][:4]
        for prefix, after in questions
    }


def test_long_customers_that_start_alike_are_each_listed_once(subject: Subject) -> None:
    names = [f"{'x' * length}{end}" for length in (899, 900, 940, 1023, 1500) for end in "a!~é"]
    register_all(subject, names)
    assert sorted(walk(subject, limit=1)) == sorted(names)
    assert sorted(walk(subject, prefix="x" * 950, limit=3)) == sorted(
        name for name in names if name.startswith("x" * 950)
    )
    assert all(subject.store.is_listed(name) for name in names)


def test_a_customer_named_like_the_digest_of_another_is_listed_beside_it(subject: Subject) -> None:
    long = "x" * 1_100
    names = [long, f"{'x' * 900} {hashlib.sha256(long.encode()).hexdigest()}"]
    for name in names:
        assert not subject.store.is_listed(name)
        subject.store.register(name)
    assert sorted(walk(subject, limit=1)) == sorted(names)


def test_a_customer_is_listed_with_its_first_event_and_not_before(subject: Subject) -> None:
    for name in ODD_CUSTOMERS:
        assert not subject.store.is_listed(name)
        subject.store.write([event(customer_id=name)])
        assert subject.store.is_listed(name)
    assert walk(subject, limit=5) == in_bytes(ODD_CUSTOMERS)


def test_registering_again_lists_a_customer_that_was_taken_off(subject: Subject) -> None:
    subject.store.write([event(customer_id="é/1"), event("t-2", customer_id="é/1")])
    subject.tables.unlist("é/1")
    assert not subject.store.is_listed("é/1")
    for _ in range(2):
        subject.store.register("é/1")
        assert subject.store.is_listed("é/1")
    assert subject.store.customers(prefix="", after=None, limit=9) == ["é/1"]


def test_every_customer_with_an_item_anywhere_is_stored_once(subject: Subject) -> None:
    for name in ODD_CUSTOMERS:
        for day in range(3):
            subject.store.write(
                [event(f"t-{place}", customer_id=name, timestamp=HOUR_ZERO + day * DAY)
                 for place in range(3)]
            )  # fmt: skip
    subject.tables.put_event(event(customer_id="only-an-event"))
    subject.tables.put_foreign("only-a-foreign-item", "\U0010ffff")
    subject.tables.set_counter("only-a-counter", DAY_ZERO, None, {0: 1})
    subject.store.register("only-listed")
    assert sorted(subject.store.stored_customers()) == sorted(
        [*ODD_CUSTOMERS, "only-an-event", "only-a-foreign-item", "only-a-counter"]
    )


# --- repair ---------------------------------------------------------------------------------------


def counts(customer_id: str, hours: dict[int, int], event_type: str | None = None) -> DayCounts:
    return DayCounts(customer_id, DAY_ZERO, event_type, hours)


def as_seen(
    subject: Subject, customer_id: str, hours: dict[int, int], event_type: str | None = None
) -> DayCounts:
    """These counts, with all else as the store has it."""
    by_type = event_type is not None
    found = subject.store.day_counts(customer_id, DAY_ZERO, DAY_ZERO, by_type=by_type)
    there = next((each for each in found if each.event_type == event_type), None)
    return replace(there or counts(customer_id, {}, event_type), hours=hours)


@pytest.mark.parametrize("event_type", [None, "a#b"])
def test_a_counter_that_is_still_what_was_seen_is_mended(
    subject: Subject, event_type: str | None
) -> None:
    cases: dict[str, tuple[dict[int, int], dict[int, int]]] = {
        "too much": ({0: 3}, {0: 2}),
        "another hour": ({0: 3, 5: 1}, {0: 3, 6: 1}),
        "no counter": ({}, {23: 7}),
        "no events": ({7: 1, 8: 2}, {}),
        "below zero": ({4: -2}, {4: 1}),
        "every hour": (dict.fromkeys(range(24), 9), dict.fromkeys(range(24), 8)),
    }
    key = "total#2021-03-01" if event_type is None else f"type#2021-03-01#{event_type}"
    for name, (stored, recount) in cases.items():
        if stored:
            subject.tables.set_counter(name, DAY_ZERO, event_type, stored)
        seen = as_seen(subject, name, stored, event_type)
        assert subject.store.repair(seen, counts(name, recount, event_type))
    assert subject.tables.contents() == Contents(
        counters={
            (name, key): {f"h{hour:02d}": number for hour, number in recount.items()}
            for name, (_, recount) in cases.items()
        }
    )


def test_a_counter_that_has_moved_is_left_alone(subject: Subject) -> None:
    cases: list[tuple[dict[int, int], dict[int, int]]] = [
        ({0: 3}, {0: 2}),
        ({0: 3}, {}),
        ({}, {0: 3}),
        ({0: 3, 1: 1}, {0: 3}),
        ({0: 3}, {0: 3, 1: 1}),
        ({0: 3}, {1: 3}),
    ]
    for place, (stored, _) in enumerate(cases):
        if stored:
            subject.tables.set_counter(f"c-{place}", DAY_ZERO, None, stored)
    before = subject.tables.contents()
    for place, (_, seen) in enumerate(cases):
        name = f"c-{place}"
        assert not subject.store.repair(as_seen(subject, name, seen), counts(name, {0: 99, 5: 1}))
    assert subject.tables.contents() == before


def test_a_counter_that_moved_and_came_to_the_same_number_is_left_alone(subject: Subject) -> None:
    subject.store.write([event("t-1"), event("t-2")])
    seen = as_seen(subject, "acme", {0: 2})
    assert subject.store.repair(seen, counts("acme", {0: 1}))
    subject.store.write([event("t-3")])
    # The first repair sent once more, as after a lost answer: 2 again, and not the 2 that was seen.
    assert not subject.store.repair(seen, counts("acme", {0: 1}))
    assert subject.tables.contents().counters["acme", "total#2021-03-01"] == {"h00": 2}


def test_a_repair_is_no_ingest(subject: Subject) -> None:
    subject.store.write([event("t-1")])
    seen = as_seen(subject, "acme", {0: 1})
    assert subject.store.repair(seen, counts("acme", {0: 5}))
    assert as_seen(subject, "acme", {}).updated_at == seen.updated_at


def test_a_counter_that_was_mended_counts_on(subject: Subject) -> None:
    subject.store.write([event("t-1")])
    subject.tables.set_counter("acme", DAY_ZERO, None, {0: 40, 9: 2})
    assert subject.store.repair(as_seen(subject, "acme", {0: 40, 9: 2}), counts("acme", {0: 1}))
    subject.store.write([event("t-2")])
    assert subject.tables.contents() == expected_contents([event("t-1"), event("t-2")])


# --- tables ---------------------------------------------------------------------------------------


def test_making_the_tables_again_changes_nothing(subject: Subject) -> None:
    events = many_events(20)
    subject.store.write(events)
    for _ in range(2):
        subject.store.create_tables()
    subject.store.check()
    assert subject.tables.contents() == expected_contents(events)
