"""Lines of CSV to numbered events and rejections."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, tzinfo
from itertools import repeat
from typing import NamedTuple

from events.domain.parsing import RowParser, is_header, row_parser
from events.errors import InvalidEvent, InvalidInput
from events.ingest.source import LONGEST_LINE_BYTES, START_BYTES, LineInput, LongLine, why_too_long
from events.models import Event

#: Of a rejected row, in characters.
LONGEST_ROW_SHOWN = 1_000

_WELL_QUOTED = re.compile(r'(?:"(?:[^"]|"")*"|[^",]*)(?:,(?:"(?:[^"]|"")*"|[^",]*))*')
_BLANK_LINES = re.compile(rb"(?:\r?\n)*")
_WHY_NO_CSV = {
    "unexpected end of data": "opens a quote that does not close on the same line",
    "',' expected after '\"'": "has text after a closing quote: double a quote inside quotes",
}


class Rejection(NamedTuple):
    """
    One line that is no event.

    `line` counts physical lines from 1, header and blank lines included. `row` is the raw line
    without its end, at most 1,000 characters; bytes that are no UTF-8 stand there as `\\xff`, so
    that it can always be written as UTF-8.
    """

    line: int
    reason: str
    row: str


#: A physical line's number, from 1, and its event.
Numbered = tuple[int, Event]


def read_records(
    source: LineInput, *, assume_zone: tzinfo | None = None, is_lenient: bool = False
) -> Iterator[Numbered | Rejection]:
    """
    Every line of a CSV file that is neither blank nor the header, in order, each exactly once.

    A row is one line: no valid field can hold a line break, so a quote that is left open
    costs its own line and no other.

    Args:
        assume_zone: As for `parse_timestamp`.
        is_lenient: As for `parse_timestamp`.

    Raises:
        InvalidInput: The input is no CSV of events (other format, wrong columns), or reading
            stopped before its end; all lines complete by then have been given.
    """
    parse: RowParser | None = None
    for line, part in source.parts():
        if isinstance(part, LongLine):
            parse = parse or row_parser(assume_zone=assume_zone, is_lenient=is_lenient)
            yield Rejection(line, part.reason, _shown(part.start))
            continue
        if parse is not None:
            yield from _records(line, part, parse)
            continue
        start = _BLANK_LINES.match(part).end()  # type: ignore[union-attr] # matches anything
        line += part.count(b"\n", 0, start)
        if start == len(part):
            continue
        end = part.index(b"\n", start) + 1
        header = _header(source.name, line, part[start:end])
        try:
            parse = row_parser(header, assume_zone=assume_zone, is_lenient=is_lenient)
        except InvalidInput as exc:
            raise InvalidInput(f"{source.name}, line {line}: {exc}") from exc
        if header is None:
            yield from _records(line, part[start:], parse)
        elif end < len(part):
            yield from _records(line + 1, part[end:], parse)


def _header(name: str, line: int, first: bytes) -> list[str] | None:
    """The first row if it names columns; None if it is an event, or no row at all."""
    raw = first.rstrip(b"\r\n")
    try:
        row = _row(raw)
    except InvalidEvent:  # a rejection like any other: `_records` comes to the line again
        if len(raw) > LONGEST_LINE_BYTES:
            return None
        row = []
    if is_header(row):
        # An event may have an id that is the name of a column; a header has no timestamp.
        return None if _is_event(row) else row
    if len(row) < 2:
        text = _shown(raw).replace('"', "")
        for separator in ";\t|":
            if separator in text and is_header(text.split(separator)):
                raise InvalidInput(
                    f"{name}, line {line}: the columns are separated by {separator!r}: "
                    "separate them by commas"
                )
    return None


def _records(line: int, block: bytes, parse: RowParser) -> Iterator[Numbered | Rejection]:
    """The records of whole lines, of which the first has the number `line`."""
    ordinary = _ordinary_rows(block)
    if ordinary is None:
        yield from _records_by_line(line, block, parse)
        return
    lines, rows = ordinary
    for number, row in enumerate(rows, line):
        try:
            event = parse(row)
        except InvalidEvent as exc:
            text = lines[number - line]
            if text:
                raw = text.encode("utf-8", "surrogateescape")
                yield Rejection(number, str(exc), _shown(raw))
        else:
            yield number, event


def _ordinary_rows(block: bytes) -> tuple[list[str], Iterable[list[str]]] | None:
    """The lines of a block and the row of each; None if a line needs a look of its own."""
    text = block.decode("utf-8", "surrogateescape")
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        if "\r" in text:
            return None
    lines = text.split("\n")
    lines.pop()  # what follows the last line end
    if max(map(len, lines)) > LONGEST_LINE_BYTES // 4:  # characters, of at most four bytes
        return None
    if '"' not in text:
        return lines, map(str.split, lines, repeat(","))  # as csv would, three times as fast
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error:  # read again line by line, where it is one line's rejection
        return None
    # A row takes one line or more: as many rows as lines means that each took one.
    is_ordinary = len(rows) == len(lines) and all(map(_is_well_quoted, lines))
    return (lines, rows) if is_ordinary else None


def _records_by_line(line: int, block: bytes, parse: RowParser) -> Iterator[Numbered | Rejection]:
    for number, ended in enumerate(block.split(b"\n")[:-1], line):
        raw = ended.removesuffix(b"\r")
        if not raw:
            continue
        try:
            event = parse(_row(raw))
        except InvalidEvent as exc:
            yield Rejection(number, str(exc), _shown(raw))
        else:
            yield number, event


def _row(raw: bytes) -> list[str]:
    """The cells of one line without its end; raises `InvalidEvent`."""
    if len(raw) > LONGEST_LINE_BYTES:
        raise InvalidEvent(None, why_too_long(len(raw), raw[:START_BYTES]))
    if b"\r" in raw:
        raise InvalidEvent(None, "has a carriage return (\\r) inside: end lines by \\n or \\r\\n")
    text = raw.decode("utf-8", "surrogateescape")
    try:
        (row,) = csv.reader([text], strict=True)
    except csv.Error as exc:
        raise InvalidEvent(None, _WHY_NO_CSV.get(str(exc), f"is no CSV: {exc}")) from exc
    if not _is_well_quoted(text):
        raise InvalidEvent(
            None, "has a quote in a cell that is not quoted: quote the cell and double the quote"
        )
    return row


def _is_well_quoted(line: str) -> bool:
    """
    Whether quotes stand only around cells or doubled inside them (RFC 4180, section 2, rule 5).

    The csv module keeps other quotes as they are. The rest of a field with a line break ends in
    one, and would be taken for a row that nobody sent.
    """
    return '"' not in line or _WELL_QUOTED.fullmatch(line) is not None


def _is_event(row: Sequence[str]) -> bool:
    try:
        row_parser(assume_zone=UTC)(row)
    except InvalidEvent:
        return False
    return True


def _shown(raw: bytes) -> str:
    # No character has more than four bytes.
    text = raw[: 4 * LONGEST_ROW_SHOWN].decode("utf-8", "backslashreplace")
    return text[:LONGEST_ROW_SHOWN]
