"""Read a file or a stream, plain or gzip, as numbered lines."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from events.errors import InvalidInput

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: How much is read at a time; the lines of one block are in memory together.
BLOCK_BYTES = 1 << 18
#: The longest line, without its line end. A valid row has at most about 3 KB of ids.
LONGEST_LINE_BYTES = 65_536
#: How much of a longer line is kept.
START_BYTES = 4_000

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_FORMATS = (
    (b"\xff\xfe", "UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text: save it as UTF-8"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet (.xlsx): save it as CSV"),
)
_AGAIN = "The rows before it stay stored: fetch the file again and run again, that is safe."


def open_lines(path: str, *, block_bytes: int = BLOCK_BYTES) -> LineInput:
    """Open a text file; `-` is standard input. gzip is recognized by its first bytes."""
    if path == "-":
        if sys.stdin is None:
            raise InvalidInput("standard input is closed")
        # At run time this is a BufferedReader.
        stdin = cast(io.BufferedIOBase, sys.stdin.buffer)
        return LineInput("standard input", stdin, is_owned=False, block_bytes=block_bytes)
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - the LineInput closes it
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise InvalidInput(f"{path}: {_why_not_open(exc)}") from exc
    return LineInput(path, file, is_owned=True, block_bytes=block_bytes)


def _why_not_open(exc: OSError | ValueError) -> str:
    match exc:
        case FileNotFoundError():
            return "file not found"
        case IsADirectoryError():
            return "is a directory: name a file in it"
        case PermissionError():
            return "no permission to read this file"
        case OSError(strerror=str(reason)):
            return f"cannot be opened: {reason}"
    return f"cannot be opened: {exc}"


class LineInput:
    """
    One input, read once; a context manager that closes the file if `open_lines` opened it.

    `size_bytes` and `bytes_read` count bytes on disk, compressed or not. `size_bytes` is None if
    the size is unknown, as for a pipe.
    """

    def __init__(
        self, name: str, file: io.BufferedIOBase, *, is_owned: bool, block_bytes: int
    ) -> None:
        self.name = name
        self.size_bytes = _size_of(file)
        self._file = file
        self._is_owned = is_owned
        self._block_bytes = block_bytes
        self._source = _Source(file)
        self._stream: io.BufferedIOBase = io.BufferedReader(self._source)

    @property
    def bytes_read(self) -> int:
        return self._source.bytes_read

    def __enter__(self) -> LineInput:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_owned:
            self._file.close()

    def parts(self) -> Iterator[tuple[int, bytes | LongLine]]:
        """
        The input in blocks of whole lines. Memory does not grow with the input or its lines.

        Yields:
            The number of the first line, and either whole lines, each with its line end, or one
            line that is too long.

        Raises:
            InvalidInput: The input is not UTF-8 text, or reading stopped before its end; by then
                all complete lines have been yielded.
        """
        line = 1
        rest = b""  # the start of a line whose end has not been read yet
        long: LongLine | None = None
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
            yield line, rest + b"\n"

    def _start(self) -> bytes:
        """The first bytes without the byte order mark; refuses other formats."""
        with self._reading(1):
            ahead = self._source.peek(len(_GZIP))
            if ahead == _GZIP:
                self._stream = gzip.GzipFile(fileobj=self._stream, mode="rb")
            elif ahead and self.name.lower().endswith(".gz"):
                raise InvalidInput(f"{self.name}: not gzip data, although the name ends in .gz")
            start = self._stream.read(4)
        for magic, problem in _OTHER_FORMATS:
            if start.startswith(magic):
                raise InvalidInput(f"{self.name}: {problem}")
        # Four bytes, so that the result is only empty if the input is.
        return start.removeprefix(_BYTE_ORDER_MARK)

    @contextmanager
    def _reading(self, line: int) -> Iterator[None]:
        """Turn read errors into `InvalidInput`; `line` is the first incomplete line."""
        where = f"after line {line - 1:,}" if line > 1 else "in its first line"
        try:
            yield
        except EOFError as exc:
            raise InvalidInput(f"{self.name}: the gzip data is cut off {where}. {_AGAIN}") from exc
        except (gzip.BadGzipFile, zlib.error) as exc:
            # The checksum comes last: rows already yielded may be wrong.
            raise InvalidInput(
                f"{self.name}: the gzip data is damaged {where}, and rows before it may be wrong: "
                f"{exc}. {_AGAIN}"
            ) from exc
        except OSError as exc:
            raise InvalidInput(
                f"{self.name}: cannot be read {where}: {exc.strerror or exc}. {_AGAIN}"
            ) from exc


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
        self.start = start[:START_BYTES]
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
