"""What the tests of verification share: the events, and ways to damage the tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from events import verification
from events.models import Difference, Verification, Window
from events.service import Store
from tests.support.backdoor import Subject
from tests.support.factories import DAY, DAY_ZERO, HOUR, HOUR_ZERO, MICROSECOND, days_of, event

#: Two hours of two days: on the first a login at 00, a login and two calls at 05.
EVENTS = [
    event("t-1", event_type="login"),
    event("t-2", event_type="login", timestamp=HOUR_ZERO + 5 * HOUR),
    event("t-3", event_type="call", timestamp=HOUR_ZERO + 5 * HOUR),
    event("t-4", event_type="call", timestamp=HOUR_ZERO + 6 * HOUR - MICROSECOND),
    event("t-5", event_type="call", timestamp=HOUR_ZERO + DAY),
]
CLEAN = Verification(customers=1, days=2, events=5)
NEXT_DAY = "2021-03-02"


@pytest.fixture
def held(subject: Subject) -> Subject:
    """Any store that holds `EVENTS`."""
    for group in days_of(EVENTS):
        subject.store.write(group)
    return subject


def verify(
    store: Store,
    *,
    customer_id: str | None = None,
    window: Window | None = None,
    is_repairing: bool = False,
    on_difference: Callable[[Difference], None] = lambda _: None,
) -> Verification:
    """Run `verify` without its pauses."""
    return verification.verify(
        store,
        customer_id=customer_id,
        window=window,
        is_repairing=is_repairing,
        on_difference=on_difference,
        sleep=lambda _: None,
    )


def difference(
    hour: int,
    event_type: str | None,
    counter: int,
    recount: int,
    *,
    customer_id: str = "acme",
) -> Difference:
    return Difference(
        customer_id, HOUR_ZERO + hour * HOUR, event_type, counter=counter, recount=recount
    )


def put_foreign(subject: Subject, key: str) -> tuple[tuple[str, str], ...]:
    """Store an item that is not an event, if possible; returns what `verify` then finds."""
    return (("acme", key),) if subject.tables.put_foreign("acme", key) else ()


def wrong_total(subject: Subject) -> None:
    subject.tables.set_counter("acme", DAY_ZERO, None, {0: 1, 5: 4})


def wrong_type(subject: Subject) -> None:
    subject.tables.set_counter("acme", DAY_ZERO, "call", {4: 1, 5: 1})


def total_without_events(subject: Subject) -> None:
    subject.tables.set_counter("acme", "2021-03-05", None, {0: 7})


def type_without_events(subject: Subject) -> None:
    subject.tables.set_counter("acme", DAY_ZERO, "a#b-c%", {23: 7})


def event_without_counters(subject: Subject) -> None:
    subject.tables.put_event(event("t-6", event_type="new", timestamp=HOUR_ZERO + 9 * HOUR))


def counters_without_event(subject: Subject) -> None:
    subject.tables.drop_event(EVENTS[0])


def lost_total(subject: Subject) -> None:
    subject.tables.drop_counter("acme", NEXT_DAY, None)


def lost_type(subject: Subject) -> None:
    subject.tables.drop_counter("acme", DAY_ZERO, "call")


def negative_total(subject: Subject) -> None:
    subject.tables.set_counter("acme", NEXT_DAY, None, {0: -1})


def types_mixed_up(subject: Subject) -> None:
    """The totals and the sum of the types are right."""
    subject.tables.set_counter("acme", DAY_ZERO, "call", {5: 1})
    subject.tables.set_counter("acme", DAY_ZERO, "login", {0: 1, 5: 2})


Damage = Callable[[Subject], None]
#: Each way to damage the tables, and the differences that it causes.
DAMAGES: dict[Damage, tuple[Difference, ...]] = {
    wrong_total: (difference(5, None, 4, 3),),
    wrong_type: (difference(4, "call", 1, 0), difference(5, "call", 1, 2)),
    total_without_events: (difference(96, None, 7, 0),),
    type_without_events: (difference(23, "a#b-c%", 7, 0),),
    event_without_counters: (difference(9, None, 0, 1), difference(9, "new", 0, 1)),
    counters_without_event: (difference(0, None, 1, 0), difference(0, "login", 1, 0)),
    lost_total: (difference(24, None, 0, 1),),
    lost_type: (difference(5, "call", 0, 2),),
    negative_total: (difference(24, None, -1, 1),),
    types_mixed_up: (difference(5, "call", 1, 2), difference(5, "login", 2, 1)),
}
EVENTS_AFTER: dict[Damage, int] = {
    event_without_counters: 6,
    counters_without_event: 4,
}
DAYS_AFTER: dict[Damage, int] = {total_without_events: 3}


def found_after(damage: Damage) -> Verification:
    return Verification(
        customers=1,
        days=DAYS_AFTER.get(damage, 2),
        events=EVENTS_AFTER.get(damage, 5),
        differences=DAMAGES[damage],
    )
