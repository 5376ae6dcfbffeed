"""Parse CSV lines into events and rejections, each with its line number."""

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

#: Characters of a rejected row that are kept.
LONGEST_ROW_SHOWN = 1_000

_WELL_QUOTED = re.compile(r'(?:"(?:[^"]|"")*"|[^",]*)(?:,(?:"(?:[^"]|"")*"|[^",]*))*')
_BLANK_LINES = re.compile(rb"(?:\r?\n)*")
_CSV_ERRORS = {
    "unexpected end of data": "opens a quote that does not close on the same line",
    "',' expected after '\"'": "has text after a closing quote: double a quote inside quotes",
}


class Rejection(NamedTuple):
    """
    A line that is not a valid event.

    `line` counts physical lines from 1, including the header and blank lines. `row` is the raw
    line without its line end, at most 1,000 characters; bytes that are not UTF-8 are escaped as
    `\\xff`.
    """

    line: int
    reason: str
    row: str


#: The number of a physical line, from 1, and its event.
Numbered = tuple[int, Event]


def read_records(
    source: LineInput, *, assume_zone: tzinfo | None = None, is_lenient: bool = False
) -> Iterator[Numbered | Rejection]:
    """
    Yield an event or a rejection for each line of a CSV file, except blank lines and the header.

    A row is one physical line: no valid field contains a line break, so an unclosed quote costs
    its own line and no other. For the options see `parse_timestamp`.

    Raises:
        InvalidInput: The input is not a CSV file of events (another format, other columns), or
            reading stopped before its end; by then all complete lines have been yielded.
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
    """The first row if it is a header; otherwise None."""
    raw = first.rstrip(b"\r\n")
    try:
        row = _row(raw)
    except InvalidEvent:  # `_records` will reject the line
        if len(raw) > LONGEST_LINE_BYTES:
            return None
        row = []
    if is_header(row):
        # The ids of an event may be names of columns; but a header has no timestamp.
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
    """Records of a block of whole lines; `line` is the number of the first."""
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
    """The lines of a block and their rows, fast; None if a line must be examined alone."""
    text = block.decode("utf-8", "surrogateescape")
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        if "\r" in text:
            return None
    lines = text.split("\n")
    lines.pop()  # the empty text after the last line end
    if max(map(len, lines)) > LONGEST_LINE_BYTES // 4:  # characters, of at most four bytes
        return None
    if '"' not in text:
        return lines, map(str.split, lines, repeat(","))  # same as csv, three times as fast
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error:  # line by line, only the bad line is rejected
        return None
    # A row has one line or more, so as many rows as lines means one line each.
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
        raise InvalidEvent(None, "has a carriage return (\\r) inside: end lines with \\n or \\r\\n")
    text = raw.decode("utf-8", "surrogateescape")
    try:
        (row,) = csv.reader([text], strict=True)
    except csv.Error as exc:
        raise InvalidEvent(None, _CSV_ERRORS.get(str(exc), f"invalid CSV: {exc}")) from exc
    if not _is_well_quoted(text):
        raise InvalidEvent(
            None, "has a quote in a cell that is not quoted: quote the cell and double the quote"
        )
    return row


def _is_well_quoted(line: str) -> bool:
    """
    Whether quotes are only around cells, or doubled inside them (RFC 4180, section 2, rule 5).

    The csv module accepts other quotes. The second half of a field that contains a line break
    ends with such a quote, and would become a row that nobody sent.
    """
    return '"' not in line or _WELL_QUOTED.fullmatch(line) is not None


def _is_event(row: Sequence[str]) -> bool:
    try:
        row_parser(assume_zone=UTC)(row)
    except InvalidEvent:
        return False
    return True


def _shown(raw: bytes) -> str:
    # UTF-8 has at most four bytes per character.
    text = raw[: 4 * LONGEST_ROW_SHOWN].decode("utf-8", "backslashreplace")
    return text[:LONGEST_ROW_SHOWN]
