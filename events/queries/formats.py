"""Write counts as CSV, JSON Lines or Parquet, a piece at a time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import lru_cache, partial
from importlib import import_module
from itertools import islice
from typing import Any, Literal, TypeAlias

from events.domain.calendars import local_text
from events.errors import InvalidWindow
from events.models import BucketCount, BucketQuery, Calendar

Counts: TypeAlias = Iterable[BucketCount]
Format: TypeAlias = Literal["csv", "jsonl", "parquet"]

_ROWS_AT_A_TIME = 500
#: Rows of one Parquet row group: small groups are slow to read, large groups take memory.
_ROWS_IN_A_GROUP = 20_000
#: Spreadsheets run a cell with such a start as a formula (OWASP, "CSV Injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def encoded(
    name: Format, query: BucketQuery, counts: Counts, *, has_customers: bool = False
) -> Iterator[bytes]:
    """
    Write a query's counts in a format.

    `has_customers`: the counts are of several customers, and each line names its own.

    Raises `InvalidWindow` at once for Parquet without pyarrow.
    """
    match name:
        case "csv":
            return csv_pieces(query, counts, has_customers=has_customers)
        case "jsonl":
            return _json_pieces(counts, query.calendar)
        case "parquet":
            names = _columns(query, has_customers=has_customers)
            return _parquet_pieces(*_pyarrow(), query, names, counts)


def _pyarrow() -> tuple[Any, Any]:
    try:
        # Not a requirement of the service: pyarrow is larger than all its requirements together.
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as exc:
        raise InvalidWindow(
            "parquet needs pyarrow, which is not installed on the server: use csv or jsonl, or "
            "install requirements-export.txt",
            "format",
        ) from exc


# --- JSON -----------------------------------------------------------------------------------------


def count_object(bucket: BucketCount, calendar: Calendar | None = None) -> dict[str, Any]:
    """An hour, or a day, week or month of `calendar`, as a JSON object of the API."""
    fields: dict[str, Any]
    customer = {} if bucket.customer_id is None else {"customer_id": bucket.customer_id}
    if calendar is None or bucket.end is None:
        fields = {"ts_start_of_hour": hour_text(bucket.start)}
    else:
        fields = {
            "start": local_text(calendar, bucket.start),
            "end": local_text(calendar, bucket.end),
        }
    fields |= {"count": bucket.count, "partial": bucket.is_partial}
    if bucket.counts is not None:
        fields["counts"] = dict(bucket.counts)
    return customer | fields


def hour_text(start: datetime) -> str:
    """Like `format_timestamp` in a third of the time: hundreds of hours share a few days."""
    return _day(start.toordinal()) + _HOURS_OF_DAY[start.hour]


@lru_cache(maxsize=4_096)
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


_HOURS_OF_DAY = tuple(f"T{hour:02d}:00:00.000000Z" for hour in range(24))


def _json_pieces(counts: Counts, calendar: Calendar | None) -> Iterator[bytes]:
    for batch in _batches(counts, _ROWS_AT_A_TIME):
        lines = [json.dumps(count_object(bucket, calendar)) for bucket in batch]
        yield "".join(f"{line}\n" for line in lines).encode()


# --- lines: CSV and Parquet -----------------------------------------------------------------------


def csv_pieces(
    query: BucketQuery, counts: Counts, *, has_customers: bool = False
) -> Iterator[bytes]:
    """A header, and one line per bucket, or per event type of a bucket."""
    piece = io.StringIO()
    rows = csv.writer(piece, lineterminator="\n")
    rows.writerow(_columns(query, has_customers=has_customers))
    text_of = hour_text if query.calendar is None else partial(local_text, query.calendar)
    for batch in _batches(counts, _ROWS_AT_A_TIME):
        rows.writerows(
            (
                *map(_defused, customer),
                *map(text_of, times),
                *map(_defused, event_type),
                count,
                "true" if is_partial else "false",
            )
            for customer, times, event_type, count, is_partial in _lines(batch)
        )
        yield _take(piece).encode()
    if piece.tell():
        yield _take(piece).encode()


def _defused(cell: str) -> str:
    """Change `cell` so that no spreadsheet runs it as a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _parquet_pieces(
    arrow: Any, parquet: Any, query: BucketQuery, names: Sequence[str], counts: Counts
) -> Iterator[bytes]:
    zone = "UTC" if query.calendar is None else str(query.calendar.zone)
    time = arrow.timestamp("us", tz=zone)
    types = {"count": arrow.int64(), "partial": arrow.bool_()}
    types |= dict.fromkeys(("customer_id", "event_type"), arrow.string())
    schema = arrow.schema([(name, types.get(name, time)) for name in names])
    sink = io.BytesIO()
    with parquet.ParquetWriter(sink, schema) as writer:
        for batch in _batches(_lines(counts), _ROWS_IN_A_GROUP):
            rows = [
                (*customer, *times, *event_type, count, is_partial)
                for customer, times, event_type, count, is_partial in batch
            ]
            arrays = [
                arrow.array(cells, type=field.type)
                for field, cells in zip(schema, zip(*rows, strict=True), strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            yield _take(sink)
    yield _take(sink)


def _take(sink: io.BytesIO | io.StringIO) -> Any:
    """Remove and return what was written so far."""
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return written


def _columns(query: BucketQuery, *, has_customers: bool) -> tuple[str, ...]:
    customer = ("customer_id",) if has_customers else ()
    times = ("ts_start_of_hour",) if query.calendar is None else ("start", "end")
    return (*customer, *times, *(("event_type",) if query.is_grouped else ()), "count", "partial")


#: Customer and event type are empty if the answer does not have them.
Line: TypeAlias = tuple[Sequence[str], Sequence[datetime], Sequence[str], int, bool]


def _lines(counts: Counts) -> Iterator[Line]:
    """One line per bucket, or per event type: customer, times, type, count, is it partial."""
    for bucket in counts:
        customer = () if bucket.customer_id is None else (bucket.customer_id,)
        times = (bucket.start,) if bucket.end is None else (bucket.start, bucket.end)
        if bucket.counts is None:
            yield customer, times, (), bucket.count, bucket.is_partial
            continue
        for event_type, count in bucket.counts.items():
            yield customer, times, (event_type,), count, bucket.is_partial


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
