"""Read a file or a stream, plain or compressed, as numbered lines."""

from __future__ import annotations

import io
import lzma
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import zstandard

from events.errors import InvalidInput
from events.ingest.streams import (
    START_BYTES,
    SUFFIXES,
    Kind,
    OtherFormat,
    Utf16,
    compression_of,
    decompressed,
    encoding_of,
    kind_of,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: How much is read at a time; the lines of one block are in memory together.
BLOCK_BYTES = 1 << 18
#: The longest line, without its line end. A valid row has at most about 3 KB of ids.
LONGEST_LINE_BYTES = 65_536
#: How much of a longer line is kept.
LONG_LINE_START_BYTES = 4_000

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: At the start of any line: of each of several files that were joined.
_MARKS = re.compile(rb"(?m)^(?:\xef\xbb\xbf)+")
_AGAIN = "The rows before it stay stored: fetch the file again and run again, that is safe."


class LineInput:
    """
    One input, read once; a context manager that closes the file if `open_lines` opened it.

    `size_bytes` and `bytes_read` count bytes on disk, compressed or not. `size_bytes` is None if
    the size is unknown, as for a pipe.
    """

    def __init__(
        self,
        name: str,
        file: io.BufferedIOBase,
        *,
        is_owned: bool,
        block_bytes: int,
        is_plain: bool = False,
    ) -> None:
        """`is_plain`: compressed data is an error, because its size would be without a limit."""
        self.name = name
        self.file = file
        self.size_bytes = _size_of(file)
        #: Columns that the reader found and did not need.
        self.ignored: list[str] = []
        self._is_owned = is_owned
        self._is_plain = is_plain
        self._block_bytes = block_bytes
        self._source = _Source(file)
        self._stream: io.BufferedIOBase = io.BufferedReader(self._source)
        self._compression: str | None = None
        self._kind: Kind | None = None
        self._start = b""

    @property
    def bytes_read(self) -> int:
        return self._source.bytes_read

    def note_read(self, share: float) -> None:
        """Set `bytes_read` to this share of the input, for readers of `seekable`."""
        self._source.bytes_read = round(share * (self.size_bytes or 0))

    def __enter__(self) -> LineInput:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_owned:
            self.file.close()

    @property
    def kind(self) -> Kind:
        """What the input is, by its first bytes; raises `InvalidInput` if it cannot be read."""
        if self._kind is None:
            with self._reading(1):
                self._kind = self._find_kind()
        return self._kind

    def _find_kind(self) -> Kind:
        start = self._source.peek(START_BYTES)
        compression = compression_of(start)
        suffix = Path(self.name).suffix.lower()
        if start and SUFFIXES.get(suffix, compression) != compression:
            raise InvalidInput(
                f"{self.name}: not {SUFFIXES[suffix]} data, although the name ends in {suffix}"
            )
        if compression and self._is_plain:
            raise InvalidInput(f"{self.name}: {compression} data, which is not accepted here")
        self._compression = compression
        if compression:
            self._stream = decompressed(self._stream, compression)
        self._start = self._stream.read(START_BYTES)
        while len(self._start) < LONGEST_LINE_BYTES and self._start.isspace():
            more = self._stream.read(START_BYTES)
            if not more:
                break
            self._start += more
        encoding = encoding_of(self._start)
        try:
            if encoding:
                self._stream = io.BufferedReader(
                    Utf16(_joined(self._start, self._stream), encoding)
                )
                self._start = self._stream.read(START_BYTES)
            return kind_of(self._start.removeprefix(_BYTE_ORDER_MARK))
        except OtherFormat as exc:
            raise InvalidInput(f"{self.name}: this is {exc}") from exc

    def parts(self) -> Iterator[tuple[int, bytes | LongLine]]:
        """
        The input in blocks of whole lines. Memory does not grow with the input or its lines.

        A byte order mark at the start of any line is left out.

        Yields:
            The number of the first line, and either whole lines, each with its line end, or one
            line that is too long.

        Raises:
            InvalidInput: The input is not text, or reading stopped before its end; by then all
                complete lines have been yielded.
        """
        line = 1
        rest = b""  # the start of a line whose end has not been read yet
        long: LongLine | None = None
        _ = self.kind
        block = self._start
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
                yield line, _without_marks(whole)
                line += whole.count(b"\n")
            rest += block[cut:]
            # One more byte is allowed: it may be the \r of the line end.
            if len(rest) > LONGEST_LINE_BYTES + 1:
                long = LongLine(rest)
                rest = b""
            # Not `read`, which loses the bytes before an error and blocks on a slow pipe.
            with self._reading(line):
                block = self._stream.read1(self._block_bytes)
        # Only after a clean end is `rest` a whole line.
        if long is not None:
            yield line, long
        elif rest:
            yield line, _without_marks(rest + b"\n")

    @contextmanager
    def seekable(self) -> Iterator[io.BufferedIOBase]:
        """The plain bytes from their start, as a file in which a reader can seek."""
        if self._compression is None and self.size_bytes is not None:
            self.file.seek(0)
            yield self.file
            return
        with tempfile.TemporaryFile() as copy:
            copy.write(self._start)
            with self._reading(1):
                shutil.copyfileobj(self._stream, copy)
            copy.seek(0)
            yield cast(io.BufferedIOBase, copy)

    @contextmanager
    def _reading(self, line: int) -> Iterator[None]:
        """Turn read errors into `InvalidInput`; `line` is the first incomplete line."""
        where = f"after line {line - 1:,}" if line > 1 else "in its first line"
        try:
            yield
        except EOFError as exc:
            raise InvalidInput(
                f"{self.name}: the {self._compression} data is cut off {where}. {_AGAIN}"
            ) from exc
        except UnicodeError as exc:
            raise InvalidInput(
                f"{self.name}: the UTF-16 text is cut off {where}. {_AGAIN}"
            ) from exc
        except (OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as exc:
            if isinstance(exc, OSError) and exc.errno is not None:
                raise InvalidInput(
                    f"{self.name}: cannot be read {where}: {exc.strerror or exc}. {_AGAIN}"
                ) from exc
            # The checksum comes last: rows already yielded may be wrong.
            raise InvalidInput(
                f"{self.name}: the {self._compression} data is damaged {where}, and rows before it "
                f"may be wrong: {exc}. {_AGAIN}"
            ) from exc


def _without_marks(lines: bytes) -> bytes:
    return _MARKS.sub(b"", lines) if _BYTE_ORDER_MARK in lines else lines


def _joined(start: bytes, rest: io.BufferedIOBase) -> io.BufferedIOBase:
    source = _Source(rest)
    source.push(start)
    return io.BufferedReader(source)


class _Source(io.RawIOBase):
    """The raw bytes of a file, counted; the first ones can be peeked at."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        super().__init__()
        self._file = file
        self._ahead = b""
        self.bytes_read = 0

    def peek(self, size: int) -> bytes:
        self._ahead = self._file.read(size)
        return self._ahead

    def push(self, start: bytes) -> None:
        """Read these bytes first."""
        self._ahead = start

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
    except OSError:  # not a file of the operating system
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


class LongLine:
    """A line over the limit: only its start and its size are kept."""

    def __init__(self, start: bytes) -> None:
        self.start = start[:LONG_LINE_START_BYTES]
        self._size = len(start)
        self._last = start[-1:]

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        self._last = piece[-1:] or self._last

    @property
    def reason(self) -> str:
        return why_too_long(self._size - (self._last == b"\r"), self.start)


def why_too_long(size: int, start: bytes) -> str:
    """The reason to reject a line over `LONGEST_LINE_BYTES` that begins with `start`."""
    reason = f"has {size:,} bytes, more than {LONGEST_LINE_BYTES:,}"
    if b"\r" in start:
        reason += "; it contains carriage returns (\\r) alone: end lines with \\n or \\r\\n"
    return reason
