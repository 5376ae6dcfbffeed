"""Makers of events, and what the tables must then hold, counted without the code under test."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from events.models import Event

HOUR_ZERO = datetime(2021, 3, 1, tzinfo=UTC)
DAY_ZERO = "2021-03-01"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


def event(
    transaction_id: str = "t-0",
    *,
    customer_id: str = "acme",
    event_type: str = "api_call",
    timestamp: datetime = HOUR_ZERO,
) -> Event:
    return Event(customer_id, event_type, transaction_id, timestamp)


def many_events(
    number: int,
    *,
    seed: int = 0,
    customers: int = 1,
    event_types: int = 2,
    hours: int = 24,
    start: datetime = HOUR_ZERO,
) -> list[Event]:
    """Distinct events, spread evenly over all of these."""
    rng = random.Random(seed)
    return [
        event(
            f"t-{seed}-{place}",
            customer_id=f"customer-{rng.randrange(customers)}",
            event_type=f"type-{rng.randrange(event_types)}",
            timestamp=start + HOUR * rng.randrange(hours) + MICROSECOND * rng.randrange(3_600_000),
        )
        for place in range(number)
    ]


@dataclass(frozen=True)
class Contents:
    """
    Everything in both tables, but for the times at which it came in.

    `events` are (customer, stored key), ascending, voided ones too; `voided` are those that are,
    with the reason; `counters` maps (customer, stored key) to the hours that are not zero, `h00` to
    `h23`; `customers` are the listed ones, ascending.
    """

    events: list[tuple[str, str]] = field(default_factory=list)
    counters: Mapping[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)
    customers: list[str] = field(default_factory=list)
    voided: list[tuple[str, str, str]] = field(default_factory=list)


def expected_contents(
    events: Iterable[Event], *, voided: Iterable[Event] = (), reason: str = ""
) -> Contents:
    """
    What both tables hold once these events came in, in any order and however often each.

    Args:
        voided: Those of them that were voided since, for this reason.
    """
    distinct = set(events)
    tombstones = set(voided)
    counters: dict[tuple[str, str], dict[str, int]] = {}
    for customer_id, event_type, _, at in distinct:
        for key in (f"total#{time_text(at)[:10]}", f"type#{time_text(at)[:10]}#{event_type}"):
            counters.setdefault((customer_id, key), {})
    for customer_id, event_type, _, at in distinct - tombstones:
        day, hour = time_text(at)[:10], f"h{at.hour:02d}"
        for key in (f"total#{day}", f"type#{day}#{event_type}"):
            hours = counters[customer_id, key]
            hours[hour] = hours.get(hour, 0) + 1
    return Contents(
        events=sorted((event.customer_id, stored_key(event)) for event in distinct),
        counters=counters,
        customers=sorted({event.customer_id for event in distinct}),
        voided=sorted((event.customer_id, stored_key(event), reason) for event in tombstones),
    )


def stored_key(event: Event) -> str:
    escaped = "".join({"%": "%25", "-": "%2D"}.get(item, item) for item in event.event_type)
    return f"{time_text(event.timestamp)}-{escaped}-{event.transaction_id}"


def counter_key(day: str, event_type: str | None) -> str:
    return f"total#{day}" if event_type is None else f"type#{day}#{event_type}"


def time_text(at: datetime) -> str:
    """`at`, which is in UTC, as 27 characters."""
    return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def days_of(events: Iterable[Event]) -> list[list[Event]]:
    """The events of each customer and day, as they come."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for each in events:
        groups.setdefault((each.customer_id, time_text(each.timestamp)[:10]), []).append(each)
    return list(groups.values())


def batches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Events of one customer and day, as many at a time as a transaction holds of any types."""
    for first in range(0, len(events), 49):
        yield events[first : first + 49]
