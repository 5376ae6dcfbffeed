"""The tables of docs/scale.md, from the figures at the top: `python -m benchmarks.capacity`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from benchmarks import cost
from events.models import MAX_ACTIONS


class Figure(NamedTuple):
    """
    One assumption of the capacity tables.

    Args:
        source: Where the value was measured or looked up; `assumed` means neither.
    """

    value: float
    unit: str
    source: str


#: Edit these; every table follows from them.
FIGURES = {
    "consume": Figure(
        15_000,
        "events/s of one process, limited by its CPU",
        "66 µs of CPU per event, benchmarks/README.md",
    ),
    "round trip": Figure(0.010, "s, one transaction on AWS", "assumed; docs/aws.md"),
    "threads": Figure(4, "concurrent transactions per process", "EVENTS_WRITE_THREADS"),
    "events in a transaction": Figure(
        16, "events of one customer and day in a transaction", "assumed"
    ),
    "event types": Figure(2, "types in such a transaction", "assumed"),
    "archive": Figure(33_000, "events/s of the one process", "benchmarks/README.md"),
    "recount": Figure(
        87_000, "events/s of one core", "half of the rate on two cores, benchmarks/README.md"
    ),
    "streaming": Figure(
        6_000, "events/s of one core", "half of the rate on two cores, benchmarks/README.md"
    ),
    "billing": Figure(6_000, "events/s of one process, SQLite", "one run of 100,000, 2 busy cores"),
    "bytes in Kafka": Figure(
        212, "per event, key and value, uncompressed", "an event of resources/events.csv"
    ),
    "bytes in the archive": Figure(
        31, "per event, Parquet", "benchmarks/README.md, before compaction"
    ),
    "copies": Figure(3, "of each message in Kafka", "replication.factor"),
    "days in Kafka": Figure(7, "days", "Kafka's default, log.retention.hours"),
    "peak": Figure(3, "times the mean", "assumed"),
    "headroom": Figure(
        0.5, "share of a consumer used at the peak", "chosen, to catch up after an outage"
    ),
    "core hour": Figure(0.05, "dollars", "assumed"),
    "gigabyte month": Figure(0.023, "dollars, object storage", "assumed"),
}
#: The number of partitions is a multiple of this: 2, 3, 4, 6 and 12 consumers share it evenly.
_STEP = 12
#: Default quota of a table on AWS (docs/aws.md, Limits).
_TABLE_UNITS = 40_000
#: Write units of an event in the events table; the rest are in the counters' table.
_EVENT_UNITS = 2

_THREADS = (4, 16, 64)
_LOADS = (1_000_000, 100_000_000, 1_000_000_000)
_DAY_SECONDS = 86_400
_MONTH_DAYS = 30
_HOUR_SECONDS = 3_600
_MILLION = 1_000_000
_GIGABYTE = 1e9


def value(name: str) -> float:
    return FIGURES[name].value


# --- formulas -------------------------------------------------------------------------------------


def peak(events_per_day: float) -> float:
    """Peak events per second."""
    return events_per_day / _DAY_SECONDS * value("peak")


def consumer_rate(events: float, threads: float) -> float:
    """
    Events/s of one `consume` on AWS, limited by its CPU or by its transactions.

    Args:
        events: Events per transaction.
        threads: Concurrent transactions.
    """
    return min(value("consume"), threads / value("round trip") * events)


def consumers(events_per_day: float) -> int:
    rate = consumer_rate(value("events in a transaction"), value("threads"))
    return math.ceil(peak(events_per_day) / rate / value("headroom"))


def partitions(events_per_day: float) -> int:
    """At least one per consumer, rounded up: adding partitions later moves customers."""
    return max(1, math.ceil(consumers(events_per_day) / _STEP)) * _STEP


def units_per_event() -> float:
    return cost.write_units(int(value("events in a transaction")), int(value("event types")))


def streaming_cores(events_per_day: float) -> int:
    return math.ceil(peak(events_per_day) / value("streaming") / value("headroom"))


def dollars_a_million(path: str) -> float:
    """Compute cost of a path, without storage."""
    return _MILLION / value(path) / _HOUR_SECONDS * value("core hour")


# --- the tables -----------------------------------------------------------------------------------


def _figures() -> Iterator[str]:
    yield "| figure | value | of | from |"
    yield "|---|---|---|---|"
    for name, figure in FIGURES.items():
        yield f"| {name} | {figure.value:,g} | {figure.unit} | {figure.source} |"


def _loads() -> Iterator[str]:
    bus, archive = value("bytes in Kafka"), value("bytes in the archive")
    kept = value("copies") * value("days in Kafka")
    yield (
        "| events per day | mean, events/s | peak, events/s | Kafka per day "
        "| on the brokers, all copies | archive per month |"
    )
    yield "|---|---|---|---|---|---|"
    for load in _LOADS:
        yield (
            f"| {load:,} | {load / _DAY_SECONDS:,.0f} | {peak(load):,.0f} | {_size(load * bus)} "
            f"| {_size(load * bus * kept)} | {_size(load * archive * _MONTH_DAYS)} |"
        )


def _transactions() -> Iterator[str]:
    types = int(value("event types"))
    yield (
        "| events per transaction | write units per event | a million events "
        + "".join(f"| events/s, {threads} concurrent " for threads in _THREADS)
        + "|"
    )
    yield "|---" * (3 + len(_THREADS)) + "|"
    for events in (1, 4, 16, MAX_ACTIONS - 1 - types):
        units = cost.write_units(events, min(events, types))
        rates = "".join(f"| {consumer_rate(events, threads):,.0f} " for threads in _THREADS)
        dollars = units * cost.MILLION_WRITE_UNITS
        yield f"| {events} | {units:.2f} | ${dollars:.2f} {rates}|"


def _exact() -> Iterator[str]:
    event_bytes = cost.stored_bytes()
    yield (
        "| events per day | `consume` processes | partitions | write units/s at the peak "
        "| share of the events table's default quota | writes per day "
        "| storing one month's events, per month |"
    )
    yield "|---|---|---|---|---|---|---|"
    for load in _LOADS:
        units = peak(load) * units_per_event()
        of_quota = peak(load) * _EVENT_UNITS / _TABLE_UNITS
        writes = load * units_per_event() / _MILLION * cost.MILLION_WRITE_UNITS
        kept = load * _MONTH_DAYS * event_bytes / _GIGABYTE * cost.GIGABYTE_MONTH
        yield (
            f"| {load:,} | {consumers(load)} | {partitions(load)} | {units:,.0f} "
            f"| {of_quota:.1%} | ${writes:,.2f} | ${kept:,.2f} |"
        )


def _others() -> Iterator[str]:
    archive_bytes = value("bytes in the archive")
    yield (
        "| events per day | load of the `archive` process, mean, peak | cores for streaming counts "
        "| core hours to recount a day | core hours to recount a month | archive per month |"
    )
    yield "|---|---|---|---|---|---|"
    for load in _LOADS:
        mean, most = load / _DAY_SECONDS / value("archive"), peak(load) / value("archive")
        hours = load / value("recount") / _HOUR_SECONDS
        kept = load * _MONTH_DAYS * archive_bytes / _GIGABYTE * value("gigabyte month")
        yield (
            f"| {load:,} | {mean:.1%}, {most:.1%} | {streaming_cores(load)} | {hours:,.3f} "
            f"| {hours * _MONTH_DAYS:,.2f} | ${kept:,.2f} |"
        )


def _paths() -> Iterator[str]:
    exact = units_per_event() * cost.MILLION_WRITE_UNITS
    kept = cost.stored_bytes() * _MILLION / _GIGABYTE * cost.GIGABYTE_MONTH
    archived = value("bytes in the archive") * _MILLION / _GIGABYTE * value("gigabyte month")
    yield "| path | dedupe | late events | exact | state | a million events |"
    yield "|---|---|---|---|---|---|"
    for row in (
        (
            "count: `consume`",
            "forever, by the event itself",
            "of any age",
            "at every moment",
            "DynamoDB alone",
            f"${exact:.2f}, and ${kept:.3f} per month",
        ),
        (
            "archive: `archive`",
            "none: one row per message",
            "of any age",
            "each message once",
            "offsets, in the table's commit",
            f"${dollars_a_million('archive'):.4f}, and ${archived:.4f} per month",
        ),
        (
            "recount: `jobs.recount`",
            "forever, over the whole archive",
            "of any age, at the next run",
            "for archived events: the reference for all others",
            "none",
            f"${dollars_a_million('recount'):.5f} per recount",
        ),
        (
            "stream: `jobs.stream_counts`",
            "within the watermark",
            "within the watermark; later ones are not counted, but reported",
            "within the watermark",
            "a checkpoint with the distinct events of two watermarks",
            f"${dollars_a_million('streaming'):.4f}",
        ),
        (
            "bill: `examples.billing`",
            "forever, by a hash in SQL",
            "of any age",
            "at every moment; reconciled with the counts",
            "its SQL database",
            f"${dollars_a_million('billing'):.4f}, and the database",
        ),
    ):
        yield f"| {' | '.join(row)} |"


#: By the name in the comment before each table in docs/scale.md.
_TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "paths": _paths,
    "loads": _loads,
    "transactions": _transactions,
    "exact": _exact,
    "others": _others,
    "figures": _figures,
}


def tables() -> dict[str, str]:
    """All tables in Markdown, by name."""
    return {name: "\n".join(lines()) for name, lines in _TABLES.items()}


def _size(number: float) -> str:
    for unit, bytes_each in (("TB", 1e12), ("GB", 1e9)):
        if number >= bytes_each:
            return f"{number / bytes_each:,.1f} {unit}"
    return f"{number / 1e6:,.0f} MB"


def main() -> None:
    for name, table in tables().items():
        print(f"<!-- capacity: {name} -->\n\n{table}\n\n<!-- end -->\n")


if __name__ == "__main__":
    main()
