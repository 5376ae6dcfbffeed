"""examples/forecast on an archive: the features equal a computation from scratch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from events.archive.catalog import Conflict, open_catalog
from events.errors import StoreRefused
from events.models import Event
from examples.forecast.tables import USAGE, open_table, read_of, replace_days
from examples.forecast.update import Updated, update
from tests.stream.forecasts import archive
from tests.support.factories import DAY, HOUR, HOUR_ZERO, event, many_events

#: The columns of the features, in order.
Row = tuple[object, ...]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(open_catalog("forecast", str(tmp_path / "iceberg"))) as catalog:
        yield catalog


def batches() -> list[tuple[datetime, list[Event]]]:
    """
    What was archived, and when: duplicates, late and early events, new and older customers.

    Nothing but time is new in the fourth batch. The last one has events of all ages.
    """
    first = many_events(60, seed=1, customers=3, hours=60)
    second = many_events(40, seed=2, customers=4, hours=20, start=HOUR_ZERO + 60 * HOUR)
    third = many_events(30, seed=3, customers=4, hours=30, start=HOUR_ZERO + 90 * HOUR)
    last = [
        event("old", customer_id="customer-1", event_type="new", timestamp=HOUR_ZERO - 30 * DAY),
        event("late", customer_id="customer-0", timestamp=HOUR_ZERO + 70 * HOUR),
        event("future", customer_id="customer-0", timestamp=HOUR_ZERO + 40 * DAY),
    ]
    rng = random.Random(4)
    return [
        (HOUR_ZERO + 61 * HOUR, [*first, *rng.sample(first, 10)]),
        (HOUR_ZERO + 80.5 * HOUR, [*second, *rng.sample(first, 10)]),
        (HOUR_ZERO + 110.2 * HOUR, [*third, *rng.sample(second, 10), *rng.sample(third, 5)]),
        (HOUR_ZERO + 12.5 * DAY, first[:2]),
        (HOUR_ZERO + 20 * DAY, [*last, *rng.sample(second, 5)]),
    ]


def from_scratch(archived: Sequence[tuple[datetime, Sequence[Event]]]) -> set[Row]:
    """The features by their definition, without the example's code."""
    known_at: dict[Event, datetime] = {}
    for at, events in archived:
        for one in events:
            known_at[one] = min(at, known_at.get(one, at))
    until = max(at for at, _ in archived)
    rows: set[Row] = set()
    for customer_id, event_type in {one[:2] for one in known_at}:
        own = [
            (hour_of(one), at)
            for one, at in known_at.items()
            if one[:2] == (customer_id, event_type)
        ]
        every = [(hour_of(one), at) for one, at in known_at.items() if one[0] == customer_id]
        hour = min(hour for hour, _ in own)
        while hour + HOUR <= until:
            rows |= set(versions_of(customer_id, event_type, hour, own, every))
            hour += HOUR
    return rows


def versions_of(
    customer_id: str,
    event_type: str,
    hour: datetime,
    own: Sequence[tuple[datetime, datetime]],
    every: Sequence[tuple[datetime, datetime]],
) -> Iterator[Row]:
    before: object = None
    for now in sorted({hour + HOUR, *(at for _, at in every if at > hour + HOUR)}):
        hours = [one for one, at in own if at <= now]
        ages = [(hour - one) // HOUR for one in hours]
        sums = [sum(1 for age in ages if 0 < age <= most) for most in (24, 168)]
        values = (*(ages.count(age) for age in (0, 1, 24, 168)), *sums)
        if not any(values):
            continue
        start = min(one for one, at in every if at <= now)
        row = (*values, hour.hour, hour.weekday() + 1, (hour - start) // HOUR)
        if row != before:
            before = row
            yield (customer_id, event_type, hour, now, *row)


def hour_of(one: Event) -> datetime:
    return one.timestamp.replace(minute=0, second=0, microsecond=0)


def table_of(catalog: Catalog) -> set[Row]:
    """The features in the table; each row is there once."""
    rows = catalog.load_table(("forecast", "hourly_usage")).scan().to_arrow().to_pylist()
    unique = {tuple(row.values()) for row in rows}
    assert len(unique) == len(rows)
    return unique


def test_features_equal_a_computation_from_scratch(catalog: Catalog) -> None:
    written = []
    for number, (at, events) in enumerate(batches(), 1):
        archive(catalog, events, at)
        written.append(update(catalog))
        assert table_of(catalog) == from_scratch(batches()[:number])
        # Nothing is written twice.
        assert update(catalog) == Updated(0, 0)
    in_steps = table_of(catalog)
    # Late events of some days changed some days only.
    assert [one.is_complete for one in written] == [True, *[False] * 4]
    catalog.drop_table(("forecast", "hourly_usage"))
    assert update(catalog).is_complete
    assert table_of(catalog) == in_steps


@pytest.mark.parametrize("is_committed", [False, True], ids=["before", "after"])
def test_a_run_that_dies_around_its_commit_is_repeated_safely(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    (first, events), (second, later), *_ = batches()
    archive(catalog, events, first)
    update(catalog)
    archive(catalog, later, second)
    commit = Table._do_commit

    def die(table: Table, *arguments: Any, **named: Any) -> NoReturn:
        if is_committed:
            commit(table, *arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(Table, "_do_commit", die)
    with pytest.raises(KeyboardInterrupt):
        update(catalog)
    monkeypatch.setattr(Table, "_do_commit", commit)

    done = batches()[: 2 if is_committed else 1]
    assert table_of(catalog) == from_scratch(done)
    assert (update(catalog) == Updated(0, 0)) is is_committed
    assert table_of(catalog) == from_scratch(batches()[:2])


def test_a_run_that_another_run_overtook_writes_nothing(catalog: Catalog) -> None:
    (first, events), (second, later), *_ = batches()
    archive(catalog, events, first)
    update(catalog)
    overtaken = open_table(catalog, USAGE)
    archive(catalog, later, second)
    update(catalog)
    read = read_of(overtaken)
    assert read is not None
    with pytest.raises(Conflict, match=r"forecast\.hourly_usage: another commit was first"):
        replace_days(overtaken, [], None, read)
    assert table_of(catalog) == from_scratch(batches()[:2])


def test_an_erased_customer_leaves_the_features(catalog: Catalog) -> None:
    (at, events), *_ = batches()
    archive(catalog, events, at)
    update(catalog)
    catalog.load_table(("events", "raw")).delete("customer_id = 'customer-1'")
    assert update(catalog).is_complete
    rest = [one for one in events if one.customer_id != "customer-1"]
    assert table_of(catalog) == from_scratch([(at, rest)])


def test_without_an_archive_the_update_says_what_to_do(catalog: Catalog) -> None:
    with pytest.raises(
        StoreRefused, match=r"events\.raw does not exist: run python -m events arch"
    ):
        update(catalog)
