"""Features of hourly usage as they were known at each time; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from events.domain.windows import HOUR

#: Hours that a row looks back. An event changes the row of its hour and of this many after it.
REACH = 168
_DAY = 24
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Arrivals(NamedTuple):
    """
    Distinct events of one hour that became known at the same time.

    `known_at` is not before the end of the hour: no row shows an hour that is not over.
    """

    customer_id: str
    event_type: str
    hour: datetime
    known_at: datetime
    events: int


class Start(NamedTuple):
    """From `known_at` on, `hour` is the first hour in which the customer has an event."""

    known_at: datetime
    hour: datetime


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """
    Features of a customer, event type and UTC hour, from `known_at` until the next row of these.

    Lags are the counts so many hours earlier. Sums are of the hours before this one. The week
    starts with Monday, 1. The age is counted from the customer's first hour with an event.
    """

    customer_id: str
    event_type: str
    hour: datetime
    known_at: datetime
    count: int
    lag_1h: int
    lag_24h: int
    lag_168h: int
    sum_24h: int
    sum_7d: int
    hour_of_day: int
    day_of_week: int
    customer_age_hours: int


def starts_of(known: Iterable[tuple[str, datetime, datetime]]) -> dict[str, list[Start]]:
    """
    The first hour of each customer, as known at each time.

    Args:
        known: Customers, `known_at` and an hour with events, in any order.

    Returns:
        Customer → its starts, each known later than the one before, and of an earlier hour.
    """
    starts: dict[str, list[Start]] = defaultdict(list)
    for customer_id, known_at, hour in sorted(known):
        own = starts[customer_id]
        if not own or hour < own[-1].hour:
            own.append(Start(known_at, hour))
    return dict(starts)


def feature_rows(
    arrivals: Iterable[Arrivals],
    starts: Mapping[str, Sequence[Start]],
    *,
    until: datetime,
    days: Collection[date],
) -> Iterator[FeatureRow]:
    """
    The rows of some days.

    An hour has a row if it or the seven days before it have events; otherwise every count of the
    row would be 0. It has one more for each time at which late events changed it.

    Args:
        arrivals: Everything that happened on these days and the seven days before them.
        until: Only hours that are over by then.
    """
    by_series: dict[tuple[str, str], list[Arrivals]] = defaultdict(list)
    for one in arrivals:
        if one.hour + HOUR <= until:
            by_series[one.customer_id, one.event_type].append(one)
    last = _index(until) - 1
    for (customer_id, event_type), series in sorted(by_series.items()):
        for hour, known_at, *values in _rows(series, starts[customer_id], last, days):
            yield FeatureRow(customer_id, event_type, hour, known_at, *values)


def _rows(
    arrivals: Iterable[Arrivals], starts: Sequence[Start], last: int, days: Collection[date]
) -> Iterator[tuple[datetime, datetime, *tuple[int, ...]]]:
    waiting = sorted(arrivals, key=lambda one: one.known_at, reverse=True)
    indices = [_index(one.hour) for one in waiting]
    # Counts from REACH hours before the first hour on, so that every row finds its lags.
    offset = min(indices) - REACH
    counts = [0] * (min(max(indices) + REACH, last) - offset + 1)
    changes = _changes(waiting, starts, last, days)
    for known_at in sorted(changes):
        while waiting and waiting[-1].known_at <= known_at:
            one = waiting.pop()
            counts[_index(one.hour) - offset] += one.events
        for index in sorted(changes[known_at]):
            here = index - offset
            week = counts[here - REACH : here]
            if not counts[here] and not any(week):
                continue  # an event of this week becomes known later
            hour = _hour(index)
            start = next(start for start in reversed(starts) if start.known_at <= known_at)
            yield (
                hour,
                known_at,
                counts[here],
                week[-1],
                week[-_DAY],
                week[-REACH],
                sum(week[-_DAY:]),
                sum(week),
                hour.hour,
                hour.isoweekday(),
                index - _index(start.hour),
            )


def _changes(
    arrivals: Iterable[Arrivals], starts: Sequence[Start], last: int, days: Collection[date]
) -> dict[datetime, set[int]]:
    """By time, the hours whose rows change at that time, or may begin."""
    changes: dict[datetime, set[int]] = defaultdict(set)
    hours: set[int] = set()
    for one in arrivals:
        index = _index(one.hour)
        hours.update(range(index, min(index + REACH, last) + 1))
    hours = {index for index in hours if _hour(index).date() in days}
    for index in hours:
        changes[_hour(index + 1)].add(index)
    # What becomes known later changes the rows of hours that were over by then.
    for one in arrivals:
        index = _index(one.hour)
        over = range(index, min(index + REACH + 1, _index(one.known_at)))
        changes[one.known_at].update(hours.intersection(over))
    for start in starts[1:]:
        over = range(_index(start.hour), _index(start.known_at))
        changes[start.known_at].update(hours.intersection(over))
    return changes


def _index(at: datetime) -> int:
    """The number of the hour that holds `at`."""
    return (at - _EPOCH) // HOUR


def _hour(index: int) -> datetime:
    return _EPOCH + index * HOUR
