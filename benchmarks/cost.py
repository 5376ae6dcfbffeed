"""Cost on AWS, computed from the items that the code writes: `python -m benchmarks.cost`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from events.datamodels import Tables
from events.dynamodb.expressions import put_actions
from events.models import MAX_ACTIONS, Event

#: Dollars: on-demand, standard table class, US East (N. Virginia), since November 2024.
#: Replace them with the prices of your region.
MILLION_WRITE_UNITS = 0.625
MILLION_READ_UNITS = 0.125
GIGABYTE_MONTH = 0.25

#: Bytes per capacity unit, and the overhead of each item (Developer Guide, "DynamoDB read and
#: write operations", "DynamoDB item sizes and formats").
_WRITE_UNIT_BYTES = 1_024
_READ_UNIT_BYTES = 4_096
_ITEM_OVERHEAD_BYTES = 100
#: A transaction writes each item twice, to prepare and to commit.
_TRANSACTION = 2
_MILLION = 1_000_000

_START = datetime(2021, 3, 1, tzinfo=UTC)
_HOURS_A_DAY = 24
_MONTH_DAYS = 31
#: Each process registers a customer with the customer's first event of a UTC day.
_LISTINGS = 1_000 * _MONTH_DAYS
#: Each process logs a changed customer and day once per minute.
_MINUTES = _MONTH_DAYS * 24 * 60
_TABLES = Tables.named("customer_events")


def write_units(events: int, event_types: int) -> float:
    """Write units per event of a transaction with `events` events of `event_types` types."""
    actions = events + 1 + event_types
    return _TRANSACTION * actions / events


def stored_bytes() -> int:
    """Bytes of one stored event, overhead included."""
    return _event_bytes() + _ITEM_OVERHEAD_BYTES


def tables() -> str:
    """All tables in Markdown."""
    return "\n\n".join(("\n".join(_write_rows()), "\n".join(_storage_and_query_rows())))


def _write_rows() -> Iterator[str]:
    yield "| events per transaction | event types | write units per event | a million events |"
    yield "|---|---|---|---|"
    for events, event_types in (
        (1, 1),
        (2, 1),
        (4, 1),
        (8, 1),
        (16, 2),
        (32, 2),
        (MAX_ACTIONS - 1 - 5, 5),
        (MAX_ACTIONS - 1 - 1, 1),
    ):
        units = write_units(events, event_types)
        dollars = units * MILLION_WRITE_UNITS
        yield f"| {events} | {event_types} | {units:.2f} | ${dollars:.2f} |"


def _storage_and_query_rows() -> Iterator[str]:
    event, counter = _event_bytes(), _counter_bytes()
    gigabytes = stored_bytes() * _MILLION / 1e9
    month_units = _read_units(_MONTH_DAYS * counter)
    cut_units = _read_units(1_000 * event)
    recount_units = _read_units(_MILLION * event)
    yield "| what | how much | dollars |"
    yield "|---|---|---|"
    yield (
        f"| storing a million events of {event} + {_ITEM_OVERHEAD_BYTES} bytes "
        f"| {gigabytes:.2f} GB | ${gigabytes * GIGABYTE_MONTH:.3f} per month |"
    )
    yield (
        f"| a million queries over {_MONTH_DAYS} days, {_MONTH_DAYS} items of {counter} bytes "
        f"| {month_units} read units each | ${month_units * MILLION_READ_UNITS:.2f} |"
    )
    yield (
        "| the same with one partial hour of 1,000 events "
        f"| {cut_units} more read units each | ${cut_units * MILLION_READ_UNITS:.2f} more |"
    )
    yield (
        f"| `verify` reads a million events | {recount_units:,} read units "
        f"| ${recount_units * MILLION_READ_UNITS / _MILLION:.3f} |"
    )
    yield (
        "| registering 1,000 customers every day of a month, per process "
        f"| {_LISTINGS:,} write units "
        f"| ${_LISTINGS * MILLION_WRITE_UNITS / _MILLION:.3f} |"
    )
    yield (
        "| logging changes of a customer in every minute of a month, per process "
        f"| {_MINUTES:,} write units "
        f"| ${_MINUTES * MILLION_WRITE_UNITS / _MILLION:.3f} |"
    )


def _event_bytes() -> int:
    return _bytes_of(_actions(1)[0]["Put"]["Item"])


def _counter_bytes() -> int:
    """A day's total counter with four digits in every hour."""
    update = _actions(_HOURS_A_DAY)[_HOURS_A_DAY]["Update"]
    hours = {f"h{hour:02d}": {"N": "9999"} for hour in range(_HOURS_A_DAY)}
    stamp = {"updated_at": update["ExpressionAttributeValues"][":now"]}
    return _bytes_of({**update["Key"], **hours, **stamp})


def _actions(events: int) -> list[Any]:
    """The actions for one event in each of the first hours of a day, with ids as long as UUIDs."""
    events_of_day = [
        Event("9d698ace49b14eaed7cc1ac64afef255", "page_view", "t" * 36, _START + hour)
        for hour in (timedelta(hours=number) for number in range(events))
    ]
    return list(put_actions(_TABLES, events_of_day, _START))


def _bytes_of(item: Mapping[str, Any]) -> int:
    """Item size by AWS's rules: names and values; a number takes half a byte per digit plus one."""
    return sum(len(name.encode()) + sum(_value_bytes(value)) for name, value in item.items())


def _value_bytes(value: Mapping[str, str]) -> Iterable[int]:
    for type_, text in value.items():
        yield len(text.encode()) if type_ == "S" else math.ceil(len(text) / 2) + 1


def _read_units(size: float) -> int:
    return math.ceil(size / _READ_UNIT_BYTES)


def main() -> None:
    if _event_bytes() > _WRITE_UNIT_BYTES:
        raise RuntimeError("an event takes more than one write unit: these tables are wrong")
    print(tables())


if __name__ == "__main__":
    main()
