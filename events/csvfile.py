"""CSV files and streams, plain or gzip, to numbered events and rejections."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, tzinfo
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, cast

from events.errors import InvalidEvent, InvalidInput
from events.models import Event
from events.parsing import RowParser, is_header, row_parser

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Read at a time. The rows of one block are made before the first of them is used.
BLOCK_BYTES = 1 << 18
#: Of a line without its end. A valid row has about 3 KB of ids and one timestamp.
LONGEST_LINE_BYTES = 65_536
#: Of a rejected row, in characters.
LONGEST_ROW_SHOWN = 1_000

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_FORMATS = (
    (b"\xff\xfe", "is UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16: save it as UTF-8"),
    (b"PK\x03\x04", "is a zip archive or a spreadsheet (.xlsx): save it as CSV"),
)
_WELL_QUOTED = re.compile(r'(?:"(?:[^"]|"")*"|[^",]*)(?:,(?:"(?:[^"]|"")*"|[^",]*))*')
_BLANK_LINES = re.compile(rb"(?:\r?\n)*")
_WHY_NO_CSV = {
    "unexpected end of data": "opens a quote that does not close on the same line",
    "',' expected after '\"'": "has text after a closing quote: double a quote inside quotes",
}
_AGAIN = "The rows before it stay stored: fetch the file again and run again, that is safe."


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


def open_input(path: str, *, block_bytes: int = BLOCK_BYTES) -> CsvInput:
    """
    The CSV file at `path`; `-` is standard input.

    It is read as gzip if its name ends in .gz or its first bytes say so.

    Raises:
        InvalidInput: There is no such file, or it may not be read.
    """
    if path == "-":
        if sys.stdin is None:
            raise InvalidInput("standard input is closed")
        # A BufferedReader; typeshed promises less.
        stdin = cast(io.BufferedIOBase, sys.stdin.buffer)
        return CsvInput("standard input", stdin, is_ours=False, block_bytes=block_bytes)
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - the CsvInput closes it
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise InvalidInput(f"{path}: {_why_not_open(exc)}") from exc
    return CsvInput(path, file, is_ours=True, block_bytes=block_bytes)


def _why_not_open(exc: OSError | ValueError) -> str:
    match exc:
        case FileNotFoundError():
            return "there is no such file"
        case IsADirectoryError():
            return "is a directory: name a file in it"
        case PermissionError():
            return "may not be read by this user: change its permissions"
        case OSError(strerror=str(reason)):
            return f"cannot be opened: {reason}"
    return f"cannot be opened: {exc}"


class CsvInput:
    """
    One CSV input, read once; a context manager that closes what `open_input` opened.

    `size_bytes` and `bytes_read` are of the file on disk, compressed if it is. `size_bytes` is
    None where it is not known beforehand (a pipe).
    """

    def __init__(
        self, name: str, file: io.BufferedIOBase, *, is_ours: bool, block_bytes: int
    ) -> None:
        self.name = name
        self.size_bytes = _size_of(file)
        self._file = file
        self._is_ours = is_ours
        self._block_bytes = block_bytes
        self._source = _Source(file)
        self._stream: io.BufferedIOBase = io.BufferedReader(self._source)

    @property
    def bytes_read(self) -> int:
        return self._source.bytes_read

    def __enter__(self) -> CsvInput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_ours:
            self._file.close()

    def records(
        self, *, assume_zone: tzinfo | None = None, is_lenient: bool = False
    ) -> Iterator[Numbered | Rejection]:
        """
        Every line that is neither blank nor the header, in order, each exactly once.

        A row is one line: no valid field can hold a line break, so a quote that is left open
        costs its own line and no other. Memory does not grow with the input or its lines.

        Args:
            assume_zone: As for `parse_timestamp`.
            is_lenient: As for `parse_timestamp`.

        Raises:
            InvalidInput: The input is no CSV of events (other format, wrong columns), or reading
                stopped before its end; all lines complete by then have been given.
        """
        parse: RowParser | None = None
        for line, part in self._parts():
            if isinstance(part, _LongLine):
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
            header = self._header(line, part[start:end])
            try:
                parse = row_parser(header, assume_zone=assume_zone, is_lenient=is_lenient)
            except InvalidInput as exc:
                raise InvalidInput(f"{self.name}, line {line}: {exc}") from exc
            if header is None:
                yield from _records(line, part[start:], parse)
            elif end < len(part):
                yield from _records(line + 1, part[end:], parse)

    def _header(self, line: int, first: bytes) -> list[str] | None:
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
                        f"{self.name}, line {line}: the columns are separated by {separator!r}: "
                        "separate them by commas"
                    )
        return None

    def _parts(self) -> Iterator[tuple[int, bytes | _LongLine]]:
        """
        The input, cut at line ends.

        Yields:
            The number of the first line, and either whole lines, each with its end, or one line
            that is too long to hold.
        """
        line = 1
        rest = b""  # the start of a line whose end is not read yet
        long: _LongLine | None = None
        block = self._start()
        while block:
            if long is not None:
                piece, end, block = block.partition(b"\n")
                long.add(piece)
                if end:
                    yield line, long
                    line += 1
                    long = None
            cut = block.rfind(b"\n") + 1
            if cut:
                whole = rest + block[:cut]
                rest = b""
                yield line, whole
                line += whole.count(b"\n")
            rest += block[cut:]
            # One byte more than the bound may still be the \r of the line's end.
            if len(rest) > LONGEST_LINE_BYTES + 1:
                long = _LongLine(rest)
                rest = b""
            # read1, because read loses what came before an error, and waits on a slow pipe.
            with self._reading(line):
                block = self._stream.read1(self._block_bytes)
        # Only here has the input ended well: after an error `rest` may be cut, and is no row.
        if long is not None:
            yield line, long
        elif rest:
            yield line, rest + b"\n"

    def _start(self) -> bytes:
        """The first bytes, without a byte order mark; what is no text in UTF-8 is refused."""
        with self._reading(1):
            ahead = self._source.look_ahead(len(_GZIP))
            if ahead == _GZIP:
                self._stream = gzip.GzipFile(fileobj=self._stream, mode="rb")
            elif ahead and self.name.lower().endswith(".gz"):
                raise InvalidInput(f"{self.name}: is named .gz but holds no gzip data: rename it")
            start = self._stream.read(4)
        for magic, problem in _OTHER_FORMATS:
            if start.startswith(magic):
                raise InvalidInput(f"{self.name}: {problem}")
        # Of four bytes one is left after the mark, unless the input ends there.
        return start.removeprefix(_BYTE_ORDER_MARK)

    @contextmanager
    def _reading(self, line: int) -> Iterator[None]:
        """Names what goes wrong in reading while `line` is the first that is not complete."""
        place = f"after line {line - 1:,}" if line > 1 else "in its first line"
        try:
            yield
        except EOFError as exc:
            raise InvalidInput(f"{self.name}: the gzip data is cut off {place}. {_AGAIN}") from exc
        except (gzip.BadGzipFile, zlib.error) as exc:
            # The checksum comes last: what was given before it may be wrong, and stays given.
            raise InvalidInput(
                f"{self.name}: the gzip data is damaged {place}, and rows before it may be wrong: "
                f"{exc}. {_AGAIN}"
            ) from exc
        except OSError as exc:
            raise InvalidInput(
                f"{self.name}: cannot be read {place}: {exc.strerror or exc}. {_AGAIN}"
            ) from exc


class _Source(io.RawIOBase):
    """The bytes as they lie on disk, counted; the first can be looked at before they are read."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        super().__init__()
        self._file = file
        self._ahead = b""
        self.bytes_read = 0

    def look_ahead(self, size: int) -> bytes:
        """The first `size` bytes, fewer only where the input ends; before anything is read."""
        self._ahead = self._file.read(size)
        return self._ahead

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        block = self._ahead[: len(view)] or self._file.read1(len(view))
        self._ahead = self._ahead[len(block) :]
        view[: len(block)] = block
        self.bytes_read += len(block)
        return len(block)


def _size_of(file: io.BufferedIOBase) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except OSError:  # no file of the system is behind it
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


class _LongLine:
    """A line over the bound: its start and its size are kept, the rest is let go."""

    def __init__(self, start: bytes) -> None:
        self.start = start[: 4 * LONGEST_ROW_SHOWN]
        self._size = len(start)
        self._last = start[-1:]

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        self._last = piece[-1:] or self._last

    @property
    def reason(self) -> str:
        return _why_too_long(self._size - (self._last == b"\r"), self.start)


def _why_too_long(size: int, start: bytes) -> str:
    reason = f"has {size:,} bytes, more than {LONGEST_LINE_BYTES:,}"
    if b"\r" in start:
        reason += "; it has carriage returns (\\r) alone: end lines by \\n or \\r\\n"
    return reason


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
        raise InvalidEvent(None, _why_too_long(len(raw), raw[: 4 * LONGEST_ROW_SHOWN]))
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
