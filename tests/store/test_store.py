"""Writing events and reading counters, on every store."""

from __future__ import annotations

from datetime import UTC, datetime

from events.dao import DynamoStore
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.domain.timestamps import utc_now
from events.domain.windows import ALL_TIME, EARLIEST, LATEST
from events.models import DayCounts, Outcome
from tests.store.helpers import ODD_TYPES, day_counts, write_all
from tests.support.backdoor import Subject
from tests.support.factories import (
    DAY,
    DAY_ZERO,
    HOUR,
    HOUR_ZERO,
    MICROSECOND,
    Contents,
    event,
    expected_contents,
    many_events,
)
from tests.support.pool import TablePool

INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE


def test_a_new_event_is_stored_counted_and_registered(subject: Subject) -> None:
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


def test_an_event_sent_again_is_a_duplicate_every_time(subject: Subject) -> None:
    events = many_events(7)
    assert write_all(subject, events) == [INSERTED] * 7
    for _ in range(3):
        assert write_all(subject, events, already=events) == [DUPLICATE] * 7


def test_outcomes_are_in_the_order_of_the_events(subject: Subject) -> None:
    events = many_events(60)
    subject.store.write(events[::3])
    outcomes = subject.store.write(events)
    assert outcomes == [INSERTED if index % 3 else DUPLICATE for index in range(60)]
    assert subject.tables.contents() == expected_contents(events)


def test_events_that_differ_in_one_field_are_different(subject: Subject) -> None:
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


def test_fields_that_join_to_the_same_text_are_different_events(subject: Subject) -> None:
    pairs = [("a-b", "c"), ("a", "b-c"), ("a%2Db", "c"), ("a%", "2Db-c"), ("a%25", "c")]
    events = [event(transaction, event_type=event_type) for event_type, transaction in pairs]
    assert subject.store.write(events) == [INSERTED] * 5
    assert subject.tables.contents() == expected_contents(events)
    assert set(subject.store.counted_events("acme", ALL_TIME)) == set(events)


def test_every_character_of_types_and_transaction_ids_is_kept(subject: Subject) -> None:
    events = [
        event(transaction, event_type=event_type)
        for event_type, transaction in zip(ODD_TYPES, reversed(ODD_TYPES), strict=True)
    ]
    assert write_all(subject, events) == [INSERTED] * len(events)
    assert set(subject.store.counted_events("acme")) == set(events)
    assert day_counts(subject, DAY_ZERO, DAY_ZERO, by_type=True) == [
        (DAY_ZERO, event_type, {0: 1}) for event_type in sorted(ODD_TYPES)
    ]
    assert subject.store.count_events_by_type("acme", [ALL_TIME]) == [dict.fromkeys(ODD_TYPES, 1)]


def test_a_write_may_be_as_large_as_a_transaction(subject: Subject) -> None:
    for event_types in (1, 2, 49):
        events = [
            event(f"t-{index}", event_type=f"{event_types}-{index % event_types}")
            for index in range(100 - 1 - event_types)
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


def test_customers_and_days_are_counted_separately(subject: Subject) -> None:
    events = many_events(150, customers=5, hours=96, event_types=3)
    assert write_all(subject, events) == [INSERTED] * 150


def test_events_at_the_ends_of_time_are_counted(subject: Subject) -> None:
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


def test_totals_are_in_order_of_days(subject: Subject) -> None:
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


def test_counters_of_types_are_in_order_of_day_and_type(subject: Subject) -> None:
    events = [
        event(f"t-{day}", event_type=event_type, timestamp=HOUR_ZERO + day * DAY + 5 * HOUR)
        for day in (3, 2, 1, 0)
        for event_type in ODD_TYPES
    ]
    write_all(subject, events)
    assert day_counts(subject, "2021-03-02", "2021-03-03", by_type=True) == [
        (day, event_type, {5: 1})
        for day in ("2021-03-02", "2021-03-03")
        for event_type in sorted(ODD_TYPES)
    ]


def test_a_counter_has_the_time_of_its_last_change(
    table_pool: TablePool,
) -> None:
    # The unit tests of the service test this on the store in memory.
    with table_pool.take() as name:
        first = utc_now()  # DynamoDB's clock must not differ by more than 30 s
        clock = [first]
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


def test_an_hour_repaired_to_zero_is_absent(subject: Subject) -> None:
    for event_type in (None, "api_call"):
        subject.tables.set_counter("acme", DAY_ZERO, event_type, {0: 0, 5: 1, 23: 0})
        counters = day_counts(subject, DAY_ZERO, DAY_ZERO, by_type=event_type is not None)
        assert counters == [(DAY_ZERO, event_type, {5: 1})]


def test_a_customer_without_events_has_no_counters(subject: Subject) -> None:
    subject.store.write([event(customer_id="acme-2")])
    for by_type in (False, True):
        assert day_counts(subject, "0001-01-01", "9999-12-31", by_type=by_type) == []


def test_creating_the_tables_again_changes_nothing(subject: Subject) -> None:
    events = many_events(20)
    subject.store.write(events)
    for _ in range(2):
        subject.store.create_tables()
    subject.store.check()
    assert subject.tables.contents() == expected_contents(events)
