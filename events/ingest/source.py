"""Files and streams, plain or gzip, to numbered lines."""

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
from types import TracebackType
from typing import TYPE_CHECKING, cast

from events.errors import InvalidInput

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Read at a time. The lines of one block are held together.
BLOCK_BYTES = 1 << 18
#: Of a line without its end. A valid row has about 3 KB of ids and one timestamp.
LONGEST_LINE_BYTES = 65_536
#: What is kept of a line that is longer.
START_BYTES = 4_000

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_FORMATS = (
    (b"\xff\xfe", "is UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16: save it as UTF-8"),
    (b"PK\x03\x04", "is a zip archive or a spreadsheet (.xlsx): save it as CSV"),
)
_AGAIN = "The rows before it stay stored: fetch the file again and run again, that is safe."


def open_lines(path: str, *, block_bytes: int = BLOCK_BYTES) -> LineInput:
    """
    The text file at `path`; `-` is standard input.

    It is read as gzip if its name ends in .gz or its first bytes say so.

    Raises:
        InvalidInput: There is no such file, or it may not be read.
    """
    if path == "-":
        if sys.stdin is None:
            raise InvalidInput("standard input is closed")
        # A BufferedReader; typeshed promises less.
        stdin = cast(io.BufferedIOBase, sys.stdin.buffer)
        return LineInput("standard input", stdin, is_ours=False, block_bytes=block_bytes)
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - the LineInput closes it
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise InvalidInput(f"{path}: {_why_not_open(exc)}") from exc
    return LineInput(path, file, is_ours=True, block_bytes=block_bytes)


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
    One input, read once; a context manager that closes what `open_lines` opened.

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

    def __enter__(self) -> LineInput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_ours:
            self._file.close()

    def parts(self) -> Iterator[tuple[int, bytes | LongLine]]:
        """
        The input, cut at line ends. Memory does not grow with the input or its lines.

        Yields:
            The number of the first line, and either whole lines, each with its end, or one line
            that is too long to hold.

        Raises:
            InvalidInput: The input is no text in UTF-8, or reading stopped before its end; all
                lines complete by then have been given.
        """
        line = 1
        rest = b""  # the start of a line whose end is not read yet
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
            # One byte more than the bound may still be the \r of the line's end.
            if len(rest) > LONGEST_LINE_BYTES + 1:
                long = LongLine(rest)
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


class LongLine:
    """A line over the bound: its start and its size are kept, the rest is let go."""

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
    """What to tell of a line over `LONGEST_LINE_BYTES` that begins with `start`."""
    reason = f"has {size:,} bytes, more than {LONGEST_LINE_BYTES:,}"
    if b"\r" in start:
        reason += "; it has carriage returns (\\r) alone: end lines by \\n or \\r\\n"
    return reason
