"""Parse the rows of a Parquet file into events and rejections, each with its row number."""

from __future__ import annotations

import io
import mmap
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from json import dumps
from typing import Any

from events.domain.columns import find_columns, row_parser
from events.domain.epochs import parse_epoch
from events.domain.parsing import COLUMNS
from events.domain.zones import in_utc
from events.errors import InvalidEvent, InvalidInput
from events.ingest.reading import Numbered, Reading, Rejection, shown
from events.ingest.source import LineInput

_ROWS_AT_A_TIME = 10_000


def read_parquet(source: LineInput, reading: Reading) -> Iterator[Numbered | Rejection]:
    """
    Yield an event or a rejection for each row of a Parquet file, numbered from 1.

    Raises:
        InvalidInput: The file is damaged, its columns have no suitable types, or pyarrow is not
            installed.
    """
    try:
        import pyarrow as pa  # larger than all requirements of the service together
        from pyarrow import parquet
    except ImportError as exc:
        raise InvalidInput(
            f"{source.name}: this is Parquet, which needs pyarrow: "
            "pip install -r requirements-export.txt"
        ) from exc

    with source.seekable() as file:
        try:
            table = parquet.ParquetFile(file, page_checksum_verification=True)
            _check_not_joined(source, file)
            names = _names(source, table.schema_arrow.names, reading)
            types = [table.schema_arrow.field(name).type for name in names]
            texts = [
                _text_reader(source, pa, field, name, arrow_type)
                for field, name, arrow_type in zip(COLUMNS, names, types, strict=True)
            ]
            parse = row_parser(
                parse_time=_time_parser(pa, types[3], reading), is_stored=reading.is_stored
            )
            number = 0
            for batch in table.iter_batches(_ROWS_AT_A_TIME, columns=names):
                source.note_read((number + len(batch)) / table.metadata.num_rows)
                columns = [
                    read(batch.column(name)) for read, name in zip(texts, names, strict=True)
                ]
                for number, row in enumerate(zip(*columns, strict=True), number + 1):  # noqa: B020
                    try:
                        event = parse(row)
                    except InvalidEvent as exc:
                        yield Rejection(number, exc.with_option, shown(dumps(row).encode()))
                    else:
                        yield number, event
        except (pa.ArrowException, OSError) as exc:
            problem = str(exc).partition("\n")[0]
            raise InvalidInput(f"{source.name}: the Parquet data is damaged: {problem}") from exc


def _check_not_joined(source: LineInput, file: io.BufferedIOBase) -> None:
    """Raise `InvalidInput` if other Parquet files come first: only the last one would be read."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"PAR1PAR1") != -1:
            raise InvalidInput(
                f"{source.name}: several Parquet files in one: name each file instead of joining "
                "them"
            )


def _names(source: LineInput, columns: Sequence[str], reading: Reading) -> list[str]:
    """The column of each field."""
    try:
        layout = find_columns(columns, reading.columns)
    except InvalidInput as exc:
        raise InvalidInput(f"{source.name}: the table {exc}") from exc
    source.ignored = list(layout.ignored)
    return [columns[index] for index in layout.indexes]


def _text_reader(
    source: LineInput, pa: Any, field: str, name: str, arrow_type: Any
) -> Callable[[Any], list[str]]:
    """What turns an array of a column into texts; a null is an empty text."""
    if pa.types.is_dictionary(arrow_type):
        read = _text_reader(source, pa, field, name, arrow_type.value_type)
        return lambda array: read(array.dictionary_decode())
    is_time = field == "timestamp"
    types = pa.types
    if types.is_binary(arrow_type) or types.is_large_binary(arrow_type):
        return lambda array: [
            (text or b"").decode("utf-8", "surrogateescape") for text in array.to_pylist()
        ]
    if is_time and types.is_timestamp(arrow_type):
        return lambda array: _texts(array.cast(pa.int64()))
    if types.is_decimal(arrow_type) and (is_time or arrow_type.scale == 0):
        return lambda array: _texts(array, "f")
    if is_time and types.is_float64(arrow_type):  # fewer digits would be off by minutes
        return lambda array: [format(Decimal(text), "f") if text else "" for text in _texts(array)]
    is_text = types.is_string(arrow_type) or types.is_large_string(arrow_type)
    is_text = is_text or types.is_string_view(arrow_type) or isinstance(arrow_type, pa.UuidType)
    if is_text or types.is_integer(arrow_type):
        return _texts
    suitable = (
        "a timestamp, text, whole numbers, decimals or doubles"
        if is_time
        else "text or whole numbers"
    )
    raise InvalidInput(
        f"{source.name}: the column {name!r} for {field} has the type {arrow_type}, not {suitable}"
    )


def _texts(array: Any, specification: str = "") -> list[str]:
    return ["" if value is None else format(value, specification) for value in array.to_pylist()]


def _time_parser(pa: Any, arrow_type: Any, reading: Reading) -> Callable[[str], datetime]:
    if not pa.types.is_timestamp(arrow_type):
        return reading.time_parser()
    unit = f"epoch-{arrow_type.unit}"

    def parse(text: str) -> datetime:
        if not text:
            raise InvalidEvent("timestamp", "is empty")
        at = parse_epoch(text, unit)
        return at if arrow_type.tz else in_utc(at.replace(tzinfo=None), reading.local)

    return parse
