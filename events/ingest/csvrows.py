"""Parse CSV lines into events and rejections, each with its line number."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import chain, repeat

from events.domain.columns import NO_HEADER, find_columns, names_known, row_parser
from events.domain.parsing import COLUMNS
from events.domain.timeformats import TimestampParser, may_be_time
from events.errors import InvalidEvent, InvalidInput
from events.ingest.reading import Numbered, Reading, Rejection, shown
from events.ingest.source import (
    LONG_LINE_START_BYTES,
    LONGEST_LINE_BYTES,
    LineInput,
    LongLine,
    why_too_long,
)
from events.models import Event

_DELIMITERS = (",", ";", "\t", "|")
#: Spreadsheets write the delimiter into the first line.
_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*', re.IGNORECASE)
#: A long number as spreadsheets and R shorten it.
_SHORTENED = re.compile(r"-?[0-9](?:[.,][0-9]+E\+[0-9]+|(?:[.,][0-9]+)?[Ee]\+[0-9]{2,3})")
#: What databases, pandas and spreadsheets write in the place of an id.
_MISSING = {
    r"\N": "databases write for NULL",
    "NULL": "databases write for a missing value",
    "<NA>": "pandas writes for a missing value",
    **dict.fromkeys(
        ("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!"),
        "spreadsheets write for an error",
    ),
}
#: How tables drawn for people begin.
_BORDERS = (b"+-", "┌".encode())
#: A block has these if one of its ids is missing or shortened.
_SIGNS = (*(text.encode() for text in _MISSING), b"E+", b"e+")


def read_csv(source: LineInput, reading: Reading) -> Iterator[Numbered | Rejection]:
    """
    Yield an event or a rejection for each row of a CSV file.

    A row is one physical line: no valid field contains a line break, so an unclosed quote costs
    its own line and no other. Rows without any text are left out. The header may occur again, as
    in files that were joined.

    Raises:
        InvalidInput: The input is not a CSV file of events (no columns for the fields), or
            reading stopped before its end; by then all complete lines have been yielded.
    """
    return chain.from_iterable(_blocks(source, reading))


def _blocks(source: LineInput, reading: Reading) -> Iterator[Iterable[Numbered | Rejection]]:
    rows: _Rows | None = None
    delimiter = reading.delimiter
    for line, part in source.parts():
        if isinstance(part, LongLine):
            if rows is None:
                raise InvalidInput(f"{source.name}, line {line}: {part.reason}")
            yield [Rejection(line, part.reason, shown(part.start))]
            continue
        while rows is None and part:
            end = part.index(b"\n") + 1
            raw = part[:end].rstrip(b"\r\n")
            sep = _SEP_LINE.fullmatch(raw.decode("utf-8", "replace"))
            if sep:
                delimiter = delimiter or sep[1]
            elif raw.strip(b' \t\r;|,"'):
                rows = _first_row(source, line, raw, reading, delimiter)
                if rows.header is None:
                    break
            part = part[end:]
            line += 1
        if rows is not None and part:
            yield rows.records(line, part)


def _first_row(
    source: LineInput, line: int, raw: bytes, reading: Reading, delimiter: str | None
) -> _Rows:
    """Find the delimiter and the columns in the first row."""
    where = f"{source.name}, line {line}"
    rows: dict[str, list[str]] = {}
    problem = ""
    for candidate in [delimiter] if delimiter else _DELIMITERS:
        try:
            rows[candidate] = _row(raw, candidate)
        except InvalidEvent as exc:
            problem = problem or str(exc)
    if not rows:
        raise InvalidInput(f"{where}: {problem}")
    if not reading.columns:
        events = {key: row[3] for key, row in rows.items() if len(row) >= 4 and not any(row[4:])}
        # A valid time decides before a text that only looks like one.
        for is_time in (partial(_is_valid, parse_time=reading.time_parser()), may_be_time):
            for candidate, text in events.items():
                if is_time(text):
                    return _Rows(where, candidate, None, reading)
    # The header's delimiter is the one that gives most names of fields.
    known, _, delimiter = max(
        (names_known(row, reading.columns), len(row), candidate) for candidate, row in rows.items()
    )
    if (delimiter == "|" and b" | " in raw) or raw.startswith(_BORDERS):
        raise InvalidInput(f"{where}: a table for people, as psql prints it: save it as CSV")
    if not known and not reading.columns:
        raise InvalidInput(
            f"{where}: neither an event nor a header with known names: {shown(raw)[:200]!r}. "
            f"The columns are {','.join(COLUMNS)}; if they have other names, add --columns "
            "customer_id=COLUMN,event_type=COLUMN,transaction_id=COLUMN,timestamp=COLUMN. If the "
            "header is in a later line, delete the lines before it; if its delimiter is not "
            "found, add --delimiter"
        )
    header = _Rows(where, delimiter, rows[delimiter], reading)
    source.ignored = list(header.ignored)
    return header


def _is_valid(text: str, parse_time: TimestampParser) -> bool:
    try:
        parse_time(text)
    except InvalidEvent:
        return False
    return True


class _Rows:
    """The rows of one file; `header` is None if the file has none."""

    def __init__(
        self, where: str, delimiter: str, header: list[str] | None, reading: Reading
    ) -> None:
        self.header = header
        self._name = where.rpartition(", line ")[0]
        self._delimiter = delimiter
        self._names = _bare(header or list(COLUMNS))
        self._columns = reading.columns
        self._is_stored = reading.is_stored
        try:
            layout = NO_HEADER if header is None else find_columns(header, reading.columns)
        except InvalidInput as exc:
            raise InvalidInput(f"{where}: the header {exc}") from exc
        self.ignored = layout.ignored
        self._parse = row_parser(layout, reading.time_parser(), is_stored=reading.is_stored)

    def records(self, line: int, block: bytes) -> Iterator[Numbered | Rejection]:
        """Records of a block of whole lines; `line` is the number of the first."""
        ordinary = _ordinary_rows(block, self._delimiter)
        if ordinary is None:
            yield from self._records_by_line(line, block)
            return
        lines, rows = ordinary
        # A search for one byte is a hundred times as fast.
        is_checked = any(sign[:1] in block and sign in block for sign in _SIGNS)
        parse = self._parse_checked if is_checked else self._parse
        for number, row in enumerate(rows, line):
            try:
                event = parse(row)
            except InvalidEvent as exc:
                if self._is_row(number, row):
                    raw = lines[number - line].encode("utf-8", "surrogateescape")
                    yield Rejection(number, exc.with_option, shown(raw))
            else:
                yield number, event

    def _records_by_line(self, line: int, block: bytes) -> Iterator[Numbered | Rejection]:
        for number, ended in enumerate(block.split(b"\n")[:-1], line):
            raw = ended.rstrip(b"\r")  # Python's csv module writes two on Windows
            row = None
            try:
                row = _row(raw, self._delimiter)
                event = self._parse_checked(row)
            except InvalidEvent as exc:
                if row is None or self._is_row(number, row):
                    yield Rejection(number, exc.with_option, shown(raw))
            else:
                yield number, event

    def _parse_checked(self, row: Sequence[str]) -> Event:
        """Also refuse what other programs write in the place of an id: many events would get it."""
        event = self._parse(row)
        for field, text in zip(COLUMNS, () if self._is_stored else event[:3], strict=False):
            if text in _MISSING:
                raise InvalidEvent(field, f"is {text}, which {_MISSING[text]}")
            if "+" in text and _SHORTENED.fullmatch(text):
                reason = f"is {text}, a number that a spreadsheet shortened: export it as text"
                raise InvalidEvent(field, reason)
        return event

    def _is_row(self, line: int, row: Sequence[str]) -> bool:
        """
        Whether a row that is not an event was meant as one: not if it is blank, or the header.

        Raises:
            InvalidInput: The row is another header, so the rows after it have other columns.
        """
        if not any(map(str.strip, row)):
            return False
        names = _bare(row)
        if names == self._names or _SEP_LINE.fullmatch(self._delimiter.join(row)):
            return False
        # One known name may be an id, and a second header may have names such as `price2`.
        known = names_known(row, self._columns)
        is_text = not any(map(str.isdigit, "".join(names)))
        if len(names) >= 4 and (known > 1 or (known and is_text)):
            raise InvalidInput(
                f"{self._name}, line {line}: another header, {self._delimiter.join(row)[:200]!r}: "
                "split the file here, or delete this line. The rows before it stay stored"
            )
        return True


def _bare(row: Sequence[str]) -> list[str]:
    """The cells without case, outer white space and empty cells at the end."""
    names = [cell.strip().casefold() for cell in row]
    while names and not names[-1]:
        names.pop()
    return names


def _ordinary_rows(block: bytes, delimiter: str) -> tuple[list[str], Iterable[list[str]]] | None:
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
        return lines, map(str.split, lines, repeat(delimiter))  # as csv, three times as fast
    try:
        rows = list(csv.reader(lines, strict=True, delimiter=delimiter))
    except csv.Error:  # line by line, only the bad line is rejected
        return None
    # A row has one line or more, so as many rows as lines means one line each.
    is_ordinary = len(rows) == len(lines) and all(map(_is_well_quoted, lines, repeat(delimiter)))
    return (lines, rows) if is_ordinary else None


def _row(raw: bytes, delimiter: str) -> list[str]:
    """The cells of one line without its end; raises `InvalidEvent`."""
    if len(raw) > LONGEST_LINE_BYTES:
        raise InvalidEvent(None, why_too_long(len(raw), raw[:LONG_LINE_START_BYTES]))
    if b"\r" in raw:
        raise InvalidEvent(None, "has a carriage return (\\r) inside: end lines with \\n or \\r\\n")
    text = raw.decode("utf-8", "surrogateescape")
    if not text:
        return []
    try:
        (row,) = csv.reader([text], strict=True, delimiter=delimiter)
    except csv.Error as exc:
        raise InvalidEvent(None, _why_no_row(str(exc), text)) from exc
    if not _is_well_quoted(text, delimiter):
        is_apart = any(cell.startswith('"') != cell.lstrip().startswith('"') for cell in row)
        raise InvalidEvent(
            None,
            "has white space between a delimiter and a quote: remove it"
            if is_apart
            else "has a quote in a cell that is not quoted: quote the cell and double the quote",
        )
    return row


def _why_no_row(problem: str, text: str) -> str:
    if '\\"' in text:
        return "has a backslash before a quote: double the quote instead (Spark: escape='\"')"
    if problem == "unexpected end of data":
        return "opens a quote that does not close on the same line"
    if problem.endswith("expected after '\"'"):
        return "has text after a closing quote: double a quote inside quotes"
    return f"invalid CSV: {problem}"


@cache
def _well_quoted(delimiter: str) -> re.Pattern[str]:
    end = re.escape(delimiter)
    cell = rf'(?:"(?:[^"]|"")*"|[^"{end}]*)'
    return re.compile(rf"{cell}(?:{end}{cell})*")


def _is_well_quoted(line: str, delimiter: str) -> bool:
    """
    Whether quotes are only around cells, or doubled inside them (RFC 4180, section 2, rule 5).

    The csv module accepts other quotes. The second half of a field that contains a line break
    ends with such a quote, and would become a row that nobody sent.
    """
    return '"' not in line or _well_quoted(delimiter).fullmatch(line) is not None
