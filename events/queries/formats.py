"""Counts as CSV, JSON Lines or Parquet, a piece at a time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache, partial
from importlib import import_module
from itertools import islice
from typing import Any, Literal, TypeAlias

from events.domain.calendars import local_text
from events.errors import InvalidWindow
from events.models import BucketCount, Calendar, PeriodCount

#: `calendar` None: the counts are of UTC hours, else of its periods.
Counts: TypeAlias = Iterable[BucketCount | PeriodCount]
Format: TypeAlias = Literal["csv", "jsonl", "parquet"]

_ROWS_AT_A_TIME = 500
#: A reader of Parquet takes a group of rows as one: many small ones are slow, large ones memory.
_ROWS_IN_A_GROUP = 20_000
#: A cell that begins so is run as a formula by spreadsheets (OWASP, "CSV Injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def encoded(
    form: Format, counts: Counts, calendar: Calendar | None, *, is_grouped: bool
) -> Iterator[bytes]:
    """
    Counts in one of the forms.

    Raises:
        InvalidWindow: Parquet cannot be written, for want of pyarrow; at once.
    """
    if form == "csv":
        return csv_pieces(counts, calendar, is_grouped=is_grouped)
    if form == "jsonl":
        return _json_pieces(counts, calendar)
    try:
        # In no list of what the service needs: it is larger than all of that together.
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as exc:
        raise InvalidWindow(
            "parquet cannot be written here, without pyarrow: ask for csv or jsonl, or have "
            "requirements-export.txt installed",
            "format",
        ) from exc
    return _parquet_pieces(arrow, parquet, counts, calendar, is_grouped=is_grouped)


# --- JSON -----------------------------------------------------------------------------------------


def bucket_object(bucket: BucketCount) -> dict[str, Any]:
    """An hour as the API tells it."""
    told = {
        "ts_start_of_hour": hour_text(bucket.start),
        "count": bucket.count,
        "partial": bucket.is_partial,
    }
    if bucket.counts is not None:
        told["counts"] = dict(bucket.counts)
    return told


def period_object(calendar: Calendar, each: PeriodCount) -> dict[str, Any]:
    """A day, week or month as the API tells it."""
    told = {
        "start": local_text(calendar, each.period.start),
        "end": local_text(calendar, each.period.end),
        "count": each.count,
        "partial": each.is_partial,
    }
    if each.counts is not None:
        told["counts"] = dict(each.counts)
    return told


def hour_text(start: datetime) -> str:
    """As `format_timestamp`, in a third of the time: hundreds of hours share a few days."""
    return _day(start.toordinal()) + _HOURS_OF_DAY[start.hour]


@lru_cache(maxsize=4_096)
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


_HOURS_OF_DAY = tuple(f"T{hour:02d}:00:00.000000Z" for hour in range(24))


def _json_pieces(counts: Counts, calendar: Calendar | None) -> Iterator[bytes]:
    for some in _batches(counts, _ROWS_AT_A_TIME):
        yield "".join(f"{json.dumps(count_object(calendar, each))}\n" for each in some).encode()


def count_object(calendar: Calendar | None, each: BucketCount | PeriodCount) -> dict[str, Any]:
    """An hour, or a day, week or month, as the API tells it."""
    if isinstance(each, BucketCount):
        return bucket_object(each)
    assert calendar is not None  # noqa: S101 - only a calendar has periods
    return period_object(calendar, each)


# --- lines: CSV and Parquet -----------------------------------------------------------------------


def csv_pieces(counts: Counts, calendar: Calendar | None, *, is_grouped: bool) -> Iterator[bytes]:
    """With counts by type, one line for each type of an hour; a header in any case."""
    piece = io.StringIO()
    rows = csv.writer(piece, lineterminator="\n")
    rows.writerow(_columns(calendar, is_grouped=is_grouped))
    tell = hour_text if calendar is None else partial(local_text, calendar)
    for some in _batches(counts, _ROWS_AT_A_TIME):
        rows.writerows(
            (
                *map(tell, times),
                *(() if kind is None else (_defused(kind),)),
                count,
                "true" if is_partial else "false",
            )
            for times, kind, count, is_partial in _lines(some)
        )
        yield piece.getvalue().encode()
        piece.seek(0)
        piece.truncate()
    if piece.tell():
        yield piece.getvalue().encode()


def _defused(cell: str) -> str:
    """`cell` such that no spreadsheet runs it."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _parquet_pieces(
    arrow: Any, parquet: Any, counts: Counts, calendar: Calendar | None, *, is_grouped: bool
) -> Iterator[bytes]:
    zone = "UTC" if calendar is None else str(calendar.zone)
    time, kinds = arrow.timestamp("us", tz=zone), {"event_type": arrow.string()}
    types = {**kinds, "count": arrow.int64(), "partial": arrow.bool_()}
    columns = _columns(calendar, is_grouped=is_grouped)
    schema = arrow.schema([(name, types.get(name, time)) for name in columns])
    sink = _Sink()
    with parquet.ParquetWriter(sink, schema) as writer:
        for some in _batches(_lines(counts), _ROWS_IN_A_GROUP):
            rows = [
                (*times, *([kind or None] if is_grouped else []), count, is_partial)
                for times, kind, count, is_partial in some
            ]
            arrays = [
                arrow.array(cells, type=schema.field(name).type)
                for name, cells in zip(columns, zip(*rows, strict=True), strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """A file whose bytes are taken out as they come."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        written = bytes(piece)
        self._pieces.append(written)
        self._position += len(written)
        return len(written)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _columns(calendar: Calendar | None, *, is_grouped: bool) -> tuple[str, ...]:
    times = ("ts_start_of_hour",) if calendar is None else ("start", "end")
    return (*times, *(("event_type",) if is_grouped else ()), "count", "partial")


Line: TypeAlias = tuple[Sequence[datetime], str | None, int, bool]


def _lines(counts: Counts) -> Iterator[Line]:
    """Counts line by line: their times, the type if they are by type, the number, `partial`."""
    for each in counts:
        if isinstance(each, BucketCount):
            times: tuple[datetime, ...] = (each.start,)
        else:
            times = (each.period.start, each.period.end)
        if each.counts is None:
            yield times, None, each.count, each.is_partial
            continue
        # One without events (`fill=zero`) keeps its line.
        by_type: Mapping[str, int] = each.counts or {"": 0}
        for kind, count in by_type.items():
            yield times, kind, count, each.is_partial


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
