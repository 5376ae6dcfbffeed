"""Compressed and encoded bytes, recognized by their beginning, as plain UTF-8."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

import zstandard

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Kind = Literal["csv", "jsonl", "parquet"]

#: How much of an input decides what it is.
START_BYTES = 16
#: Compressed bytes that are decompressed together; they may become 30,000 times as many.
_FRAME_BLOCK_BYTES = 1 << 10
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x50\x2a\x4d\x18": "zstd",  # a frame of pzstd, without data
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
}
SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
_JSON = re.compile(rb'[\s\x1e]*(?:\{\s*["}]|\{\s*$|\[\s*[{\["\]]|\[\s*$)')
_UTF_32 = b"\xff\xfe\x00\x00"
_SAVE_AS_CSV = "save it as CSV"
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook (.xlsx): unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", f"an old Excel workbook (.xls): {_SAVE_AS_CSV}"),
    (b"%PDF", f"a PDF document: {_SAVE_AS_CSV}"),
    (b"SQLite format 3", "a SQLite database: export the table as CSV"),
    (b"Obj\x01", "an Avro file: convert it to Parquet, JSON Lines or CSV"),
    (b"ORC", "an ORC file: convert it to Parquet, JSON Lines or CSV"),
    (b"ARROW1", "an Arrow file: convert it to Parquet, JSON Lines or CSV"),
    (b"7z\xbc\xaf", "a 7-Zip archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"\x04\x22\x4d\x18", "lz4 data: decompress it, or use gzip, zstd, bzip2 or xz"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy data: decompress it, or use gzip, zstd, bzip2 or xz"),
    (b"{\\rtf", f"a text document (.rtf): {_SAVE_AS_CSV}"),
    (_UTF_32, "UTF-32 text: save it as UTF-8"),
    (b"\x00\x00\xfe\xff", "UTF-32 text: save it as UTF-8"),
)
_MARKUP = re.compile(rb"\s*<(?:[!?/a-zA-Z])")


class OtherFormat(Exception):
    """An input in a format that is not read; the message is what it is and what to do."""


def compression_of(start: bytes) -> str | None:
    for magic, name in _COMPRESSIONS.items():
        if start.startswith(magic):
            return name
    return None


def decompressed(stream: io.BufferedIOBase, compression: str) -> io.BufferedIOBase:
    """The plain bytes; raises `EOFError` if the data is cut off, another error if it is invalid."""
    match compression:
        case "gzip":
            return gzip.GzipFile(fileobj=stream, mode="rb")
        case "bzip2":
            return io.BufferedReader(_Frames(stream, bz2.BZ2Decompressor))
        case "xz":
            return io.BufferedReader(_Frames(stream, lzma.LZMADecompressor))
    zstd = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    return io.BufferedReader(_Frames(stream, lambda: zstd.decompressobj()))


class _Frame(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Frames(io.RawIOBase):
    """
    The frames of a compressed file, one after another.

    zstandard's own reader does not notice that the end is missing; those of bzip2 and xz leave out
    all that follows a damaged start of a frame.
    """

    def __init__(self, stream: io.BufferedIOBase, new_frame: Callable[[], _Frame]) -> None:
        super().__init__()
        self._stream = stream
        self._new_frame = new_frame
        self._frame: _Frame | None = None
        self._compressed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._plain:
            block = self._compressed or self._stream.read1(_FRAME_BLOCK_BYTES)
            self._compressed = b""
            if not block:
                if self._frame is not None:
                    raise EOFError
                return 0
            if self._frame is None:
                block = block.lstrip(b"\0")  # padding
                if not block:
                    continue
                self._frame = self._new_frame()
            self._plain = memoryview(self._frame.decompress(block))
            if self._frame.eof:
                self._compressed = self._frame.unused_data
                self._frame = None
        view = memoryview(buffer)
        size = min(len(view), len(self._plain))
        view[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        return size


class Utf16(io.RawIOBase):
    """
    UTF-16 text as UTF-8; raises `UnicodeError` if its last character is cut off.

    Half of a surrogate pair becomes bytes that are not UTF-8, which costs its row only.
    """

    def __init__(self, stream: io.BufferedIOBase, encoding: str) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._is_over = False
        self._plain = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._plain and not self._is_over:
            block = self._stream.read1(1 << 16)
            self._is_over = not block
            self._plain = self._decoder.decode(block, final=self._is_over).encode(
                "utf-8", "surrogatepass"
            )
        view = memoryview(buffer)
        size = min(len(view), len(self._plain))
        view[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        return size


def encoding_of(start: bytes) -> str | None:
    """UTF-16 with or without a byte order mark; None for UTF-8."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) and not start.startswith(_UTF_32):
        return "utf-16"
    ascii_first, ascii_second = start[1::2], start[::2]
    if len(start) >= 4 and not any(ascii_first) and all(ascii_second):
        return "utf-16-le"
    if len(start) >= 4 and not any(ascii_second) and all(ascii_first):
        return "utf-16-be"
    return None


def kind_of(start: bytes) -> Kind:
    """What plain bytes in UTF-8 are; raises `OtherFormat`."""
    for magic, problem in _OTHER_FORMATS:
        if start.startswith(magic):
            raise OtherFormat(problem)
    if start.startswith(b"PAR1"):
        return "parquet"
    if _MARKUP.match(start):
        raise OtherFormat(f"an HTML or XML document: {_SAVE_AS_CSV}")
    if _JSON.match(start):
        return "jsonl"
    if compression_of(start):
        raise OtherFormat(
            f"{compression_of(start)} data inside compressed data: decompress it once"
        )
    if b"\x00" in start:
        raise OtherFormat(
            "binary data, an archive, or text in another encoding: unpack it, or save it as CSV in "
            "UTF-8, JSON Lines or Parquet"
        )
    return "csv"
