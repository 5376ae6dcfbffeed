"""examples/forecast: features are those that were known at the time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from examples.forecast.features import Arrivals, FeatureRow, feature_rows, starts_of
from tests.support.factories import DAY, HOUR, HOUR_ZERO

FOREVER = {(HOUR_ZERO + number * DAY).date() for number in range(-100, 100)}


def at(hours: float) -> datetime:
    return HOUR_ZERO + timedelta(hours=hours)


def arrived(hour: int, events: int, *, known_at: float | None = None) -> Arrivals:
    """Events of an hour, known when it is over."""
    known = at(hour + 1 if known_at is None else known_at)
    return Arrivals("acme", "api_call", at(hour), known, events)


def rows_of(
    arrivals: Iterable[Arrivals], *, until: float = 10_000, days: Iterable[date] = FOREVER
) -> list[FeatureRow]:
    arrivals = list(arrivals)
    starts = starts_of((one.customer_id, one.known_at, one.hour) for one in arrivals)
    return list(feature_rows(arrivals, starts, until=at(until), days=set(days)))


def test_a_row_has_the_counts_before_its_hour() -> None:
    arrivals = [arrived(0, 1), arrived(144, 10), arrived(167, 100), arrived(168, 1000)]
    (row,) = [row for row in rows_of(arrivals) if row.hour == at(168)]
    assert row == FeatureRow(
        "acme",
        "api_call",
        at(168),
        at(169),
        count=1000,
        lag_1h=100,
        lag_24h=10,
        lag_168h=1,
        sum_24h=110,
        sum_7d=111,
        hour_of_day=0,
        day_of_week=1,
        customer_age_hours=168,
    )


def test_an_hour_has_a_row_until_a_week_after_the_last_event() -> None:
    rows = rows_of([arrived(5, 1)])
    assert [row.hour for row in rows] == [at(hour) for hour in range(5, 5 + 169)]
    assert rows[-1].lag_168h == rows[-1].sum_7d == 1
    assert {(row.hour + HOUR == row.known_at) for row in rows} == {True}


def test_an_hour_that_is_not_over_has_no_row() -> None:
    arrivals = [arrived(0, 1), arrived(2, 1)]
    assert [row.hour for row in rows_of(arrivals, until=2.9)] == [at(0), at(1)]
    assert [row.hour for row in rows_of(arrivals, until=3)] == [at(0), at(1), at(2)]


def test_a_late_event_changes_features_only_when_it_is_known() -> None:
    rows = rows_of([arrived(0, 2), arrived(0, 3, known_at=2.5)], until=4)
    assert [(row.hour, row.known_at, row.count, row.sum_7d) for row in rows] == [
        (at(0), at(1), 2, 0),
        (at(1), at(2), 0, 2),
        (at(0), at(2.5), 5, 0),
        (at(1), at(2.5), 0, 5),
        (at(2), at(3), 0, 5),
        (at(3), at(4), 0, 5),
    ]


def test_the_age_counts_from_the_first_hour_that_was_known() -> None:
    arrivals = [arrived(300, 1), arrived(0, 1, known_at=302.5)]
    ages = [(r.known_at, r.customer_age_hours) for r in rows_of(arrivals) if r.hour == at(300)]
    assert ages == [(at(301), 0), (at(302.5), 300)]


def test_only_the_days_asked_for_have_rows() -> None:
    day = (HOUR_ZERO + 3 * DAY).date()
    everything = rows_of([arrived(0, 2), arrived(30, 3, known_at=90)])
    rows = rows_of([arrived(0, 2), arrived(30, 3, known_at=90)], days=[day])
    assert rows == [row for row in everything if row.hour.date() == day]
    assert len({row.hour for row in rows}) == 24


def test_each_start_of_a_customer_is_earlier_and_known_later() -> None:
    known = [
        ("acme", at(9), at(5)),
        ("acme", at(8), at(7)),
        ("acme", at(9), at(6)),
        ("acme", at(10), at(6)),
        ("other", at(1), at(0)),
    ]
    assert starts_of(known) == {
        "acme": [(at(8), at(7)), (at(9), at(5))],
        "other": [(at(1), at(0))],
    }
