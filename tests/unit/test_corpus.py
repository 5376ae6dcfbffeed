"""The same 500 events in every format, compression, delimiter and spelling are the same events."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
import zstandard

from events.domain.columns import parse_mapping
from events.domain.parsing import COLUMNS
from events.domain.zones import LocalTimes
from events.ingest.reading import Reading
from events.ingest.records import read_records, with_format_found
from events.models import Event
from tests.support.csvinput import source

BERLIN = ZoneInfo("Europe/Berlin")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def make_events() -> list[Event]:
    """Over two years, to the millisecond, with ids that need quotes and several scripts."""
    chosen = random.Random(17)
    customers = ["acme", 'say "hi", all', "größe; co|kg", "顧客", "a\u00a0b", "42"]
    return [
        Event(
            chosen.choice(customers),
            chosen.choice(["view", "page-view%", "sign in"]),
            f"t-{number}",
            datetime(2024, 1, 1, tzinfo=UTC)
            + timedelta(milliseconds=chosen.randrange(2 * 365 * 86_400_000)),
        )
        for number in range(500)
    ]


EVENTS = make_events()


class Spelling(NamedTuple):
    print: Callable[[datetime], str]
    format: str = "iso"
    zone: ZoneInfo | None = None


def _micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _local(at: datetime) -> datetime:
    return at.astimezone(BERLIN)


SPELLINGS = {
    "RFC 3339": Spelling(lambda at: at.isoformat()),
    "lower case": Spelling(lambda at: f"{at:%Y-%m-%dt%H:%M:%S.%fz}"),
    "PostgreSQL": Spelling(lambda at: f"{at:%Y-%m-%d %H:%M:%S.%f}+00"),
    "BigQuery": Spelling(lambda at: f"{at:%Y-%m-%d %H:%M:%S.%f} UTC"),
    "Snowflake": Spelling(lambda at: f"{_local(at):%Y-%m-%d %H:%M:%S.%f %z}"),
    "Go": Spelling(lambda at: f"{_local(at):%Y-%m-%d %H:%M:%S.%f %z %Z}"),
    "Java": Spelling(lambda at: f"{_local(at).isoformat()}[Europe/Berlin]"),
    "mail": Spelling(lambda at: f"{_local(at):%a, %d %b %Y %H:%M:%S.%f %z}"),
    "local with its abbreviation": Spelling(
        lambda at: f"{_local(at):%a %b %d %H:%M:%S.%f %Z %Y}", zone=BERLIN
    ),
    "seconds": Spelling(lambda at: f"{_micros(at) / 10**6:.3f}", "epoch-s"),
    "milliseconds": Spelling(lambda at: str(_micros(at) // 1000), "epoch-ms"),
    "nanoseconds, found": Spelling(lambda at: str(_micros(at) * 1000), "auto"),
    "day first, found": Spelling(lambda at: f"{at:%d.%m.%Y %H:%M:%S.%fZ}", "auto"),
    "a pattern": Spelling(lambda at: f"{at:%m/%d/%y %I:%M:%S.%f %p}", "%m/%d/%y %I:%M:%S.%f %p"),
}
COMPRESSIONS: list[Callable[[bytes], bytes]] = [
    bytes,
    gzip.compress,
    zstandard.compress,
    bz2.compress,
    lzma.compress,
]
NAMES = {
    "ours": (COLUMNS, ""),
    "aliases": (("User ID", "eventName", "idempotency-key", "occurred_at"), ""),
    "mapped": (("a", "b", "id", "d"), "customer_id=a,event_type=b,transaction_id=id,timestamp=d"),
}


def rows_of(spelling: Spelling, names: Sequence[str]) -> list[dict[str, str]]:
    return [
        dict(zip(names, (*event[:3], spelling.print(event.timestamp)), strict=True))
        for event in EVENTS
    ]


def as_csv(rows: list[dict[str, str]], delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_json(rows: list[dict[str, str]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def read_all(content: bytes, spelling: Spelling, columns: str = "") -> list[object]:
    """The events without their lines; the zone of the pattern is UTC."""
    zone = spelling.zone or (ZoneInfo("UTC") if spelling.format.startswith("%") else None)
    reading = Reading(
        parse_mapping(columns) if columns else {}, None, spelling.format, LocalTimes(zone)
    )
    if spelling.format == "auto":
        reading = with_format_found(source(content), reading)
    return [record[1] for record in read_records(source(content), reading)]


def formats_of(spelling: Spelling, names: Sequence[str] = COLUMNS) -> list[bytes]:
    rows = rows_of(spelling, names)
    contents = [as_csv(rows, delimiter) for delimiter in ",;\t|"]
    return [*contents, as_json(rows), contents[1].decode().encode("utf-16")]


@pytest.mark.parametrize("name", SPELLINGS)
def test_events_do_not_depend_on_how_they_are_written(name: str) -> None:
    """Each format with each spelling; every pair of format and compression occurs."""
    spelling, first = SPELLINGS[name], list(SPELLINGS).index(name)
    for index, content in enumerate(formats_of(spelling), first):
        compress = COMPRESSIONS[index % len(COMPRESSIONS)]
        assert read_all(compress(content), spelling) == EVENTS


@pytest.mark.parametrize("name", NAMES)
def test_events_do_not_depend_on_the_names_of_columns(name: str) -> None:
    names, columns = NAMES[name]
    for content in formats_of(SPELLINGS["RFC 3339"], names):
        assert read_all(content, SPELLINGS["RFC 3339"], columns) == EVENTS


@pytest.mark.slow
@pytest.mark.parametrize("name", SPELLINGS)
def test_events_are_equal_in_every_pair_of_choices(name: str) -> None:
    """All spellings, names and formats; each of them with every compression."""
    first = list(SPELLINGS).index(name)
    for number, (names, columns) in enumerate(NAMES.values(), first):
        for index, content in enumerate(formats_of(SPELLINGS[name], names), number):
            compress = COMPRESSIONS[index % len(COMPRESSIONS)]
            assert read_all(compress(content), SPELLINGS[name], columns) == EVENTS


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_parquet_has_the_same_events(compress: Callable[[bytes], bytes]) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    times = [event.timestamp for event in EVENTS]
    ids = {column: [event[index] for event in EVENTS] for index, column in enumerate(COLUMNS[:3])}
    for array, spelling in (
        (pa.array(times, pa.timestamp("ms", "UTC")), SPELLINGS["RFC 3339"]),
        (pa.array(times, pa.timestamp("ns", "Asia/Tokyo")), SPELLINGS["RFC 3339"]),
        ([_micros(at) * 1000 for at in times], SPELLINGS["nanoseconds, found"]),
        ([f"{at:%d.%m.%Y %H:%M:%S.%fZ}" for at in times], SPELLINGS["day first, found"]),
    ):
        buffer = io.BytesIO()
        parquet.write_table(pa.table({**ids, "timestamp": array}), buffer)
        assert read_all(compress(buffer.getvalue()), spelling) == EVENTS
