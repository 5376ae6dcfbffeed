"""Inputs: compressions, encodings, files, pipes, and where reading stops."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import re
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import zstandard

from events.errors import InvalidInput
from events.ingest.files import open_lines
from events.ingest.reading import Rejection
from events.ingest.records import read_records
from events.ingest.source import BLOCK_BYTES, LineInput
from events.models import Event
from tests.support.csvinput import (
    EVENT,
    HEADER,
    ROW,
    TEN,
    gzipped,
    numbered_rows,
    read,
    read_until_refused,
    source,
)

AGAIN = "The rows before it stay stored: fetch the file again and run again, that is safe."


# --- inputs that cannot be used ------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK\x03\x04\x14\0\x06\0", "an Excel workbook (.xlsx): unpack it, or save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls): save it as CSV"),
        (b"%PDF-1.7\n", "a PDF document: save it as CSV"),
        (b"SQLite format 3\0\x10\0", "a SQLite database: export the table as CSV"),
        (b"Obj\x01\x04\x16avro.schema", "an Avro file: convert it to Parquet, JSON Lines or CSV"),
        (b"ORC\x11\0\0\n", "an ORC file: convert it to Parquet, JSON Lines or CSV"),
        (b"ARROW1\0\0\xff\xff", "an Arrow file: convert it to Parquet, JSON Lines or CSV"),
        (b"\n<!DOCTYPE html>\n<html>", "an HTML or XML document: save it as CSV"),
        (b"<?xml version='1.0'?>", "an HTML or XML document: save it as CSV"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it"),
        (b"{\\rtf1\\ansi", "a text document (.rtf): save it as CSV"),
        (b"\x04\x22\x4d\x18\x64", "lz4 data: decompress it, or use gzip, zstd, bzip2 or xz"),
        ("a,b".encode("utf-32"), "UTF-32 text: save it as UTF-8"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            "binary data, an archive, or text in another encoding: unpack it, or save it as CSV in "
            "UTF-8, JSON Lines or Parquet",
        ),
        (gzipped(gzipped(ROW)), "gzip data inside compressed data: decompress it once"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("block_bytes", [1, BLOCK_BYTES])
def test_another_format_is_named_in_one_sentence(
    content: bytes, problem: str, block_bytes: int
) -> None:
    for whole in (content, gzipped(content)):
        records, reason = read_until_refused(read_records(source(whole, block_bytes=block_bytes)))

        assert records == []
        assert reason.startswith("events.csv: this is ")
        assert reason.endswith(problem)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("block_bytes", [1, 7, BLOCK_BYTES])
def test_utf_16_is_read_with_and_without_a_mark(encoding: str, block_bytes: int) -> None:
    text = (HEADER + "c\u00e9\U0001f422,e,t,2021-03-01T10:00:00Z\r\n".encode() + ROW).decode()
    expected = [(2, EVENT._replace(customer_id="c\u00e9\U0001f422")), (3, EVENT)]

    for content in (text.encode(encoding), gzipped(text.encode(encoding))):
        assert read(content, block_bytes=block_bytes) == expected
    assert read(text.encode("utf-16-be")) == read(("\ufeff" + text).encode("utf-16-be"))


def test_invalid_utf_16_costs_its_row_or_stops_at_the_end() -> None:
    content = (HEADER + ROW).decode().encode("utf-16") + b"\x00\xd8,\x00\n\x00c"

    records, reason = read_until_refused(read_records(source(content, block_bytes=10)))

    assert records == [(2, EVENT), Rejection(3, "has 2 columns, not 4", r"\xed\xa0\x80,")]
    assert reason == f"events.csv: the UTF-16 text is cut off after line 3. {AGAIN}"


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzipped,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("block_bytes", [1, BLOCK_BYTES])
def test_a_compressed_input_may_have_several_members(name: str, block_bytes: int) -> None:
    compress = COMPRESSIONS[name]
    content = compress(HEADER) + compress(b"") + compress(ROW[:5]) + compress(ROW[5:] + ROW)

    assert read(content, block_bytes=block_bytes) == [(2, EVENT), (3, EVENT)]


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compressed_data_that_is_cut_off_or_damaged_says_where(name: str) -> None:
    rows = COMPRESSIONS[name](HEADER + numbered_rows(3_000))
    for content, problem in (
        (rows[:-5], "is cut off"),
        (rows[: len(rows) // 2] + bytes(20) + rows[len(rows) // 2 + 20 :], "is damaged"),
        (COMPRESSIONS[name](ROW) + rows[:-9], "is cut off"),
    ):
        got, reason = read_until_refused(read_records(source(content)))

        assert reason.startswith(f"events.csv: the {name} data {problem} ")
        assert reason.endswith(f" {AGAIN}")
        lines = re.findall(r"after line ([0-9,]+)", reason)
        assert len(got) in (int((lines or ["1"])[0].replace(",", "")) - 1, 1)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_nothing_after_a_member_is_left_out(name: str) -> None:
    """A damaged start of a second member is not the end; zeros that pad are."""
    whole = COMPRESSIONS[name](ROW)
    second = COMPRESSIONS[name](HEADER + numbered_rows(9))
    for damaged in (b"?" + second[1:], second[:2] + b"?" + second[3:], b"more" * 9):
        got, reason = read_until_refused(read_records(source(whole + damaged)))
        assert got == [(1, EVENT)]
        assert reason.startswith(f"events.csv: the {name} data is damaged after line 1, and rows ")
    for padded in (whole + bytes(8), whole + bytes(4) + whole):
        assert read(padded)[0] == (1, EVENT)
        assert len(read(padded)) == padded.count(whole)


def test_zstd_may_begin_with_a_frame_to_skip() -> None:
    """As pzstd writes it."""
    frame = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert read(frame + COMPRESSIONS["zstd"](ROW) + frame) == [(1, EVENT)]


def test_a_name_in_gz_needs_gzip_data() -> None:
    records, reason = read_until_refused(read_records(source(HEADER + ROW, name="events.CSV.GZ")))

    assert records == []
    assert reason == "events.CSV.GZ: not gzip data, although the name ends in .gz"
    assert list(read_records(source(gzipped(ROW), name="events.csv.gz"))) == [(1, EVENT)]
    assert list(read_records(source(b"", name="empty.gz"))) == []


@pytest.mark.parametrize("block_bytes", [1, 100, BLOCK_BYTES])
def test_truncated_gzip_yields_the_whole_lines_before_the_cut(block_bytes: int) -> None:
    whole = gzipped(HEADER + numbered_rows(4_000))
    cut = whole[: len(whole) // 2]
    lines = zlib.decompressobj(wbits=31).decompress(cut).count(b"\n")
    assert 400 < lines < 3_600

    records, reason = read_until_refused(read_records(source(cut, block_bytes=block_bytes)))

    assert records == [(line, Event("c", "e", str(line - 2), TEN)) for line in range(2, lines + 1)]
    assert reason == f"events.csv: the gzip data is cut off after line {lines:,}. {AGAIN}"


@pytest.mark.parametrize("size", [2, 9, 12, 40])
def test_gzip_truncated_in_its_header_yields_nothing(size: int) -> None:
    assert read_until_refused(read_records(source(gzipped(HEADER + ROW)[:size]))) == (
        [],
        f"events.csv: the gzip data is cut off in its first line. {AGAIN}",
    )


@pytest.mark.parametrize(
    ("content", "records", "place"),
    [
        pytest.param(gzipped(ROW * 2)[:-8] + b"\0" * 8, 2, "after line 2", id="checksum"),
        pytest.param(gzipped(ROW) + b"more", 1, "after line 1", id="something after it"),
        pytest.param(b"\x1f\x8b" + b"\xff" * 50, 0, "in its first line", id="no gzip"),
        pytest.param(gzipped(ROW)[:10] + b"\xff" * 50, 0, "in its first line", id="no deflate"),
    ],
)
def test_damaged_gzip_says_that_earlier_rows_may_be_wrong(
    content: bytes, records: int, place: str
) -> None:
    got, reason = read_until_refused(read_records(source(content)))

    assert got == [(line, EVENT) for line in range(1, records + 1)]
    start, _, end = reason.partition(", and rows before it may be wrong: ")
    assert start == f"events.csv: the gzip data is damaged {place}"
    assert end.endswith(f". {AGAIN}")


class Failing(io.BytesIO):
    """A disk that gives its content and then an error."""

    def read1(self, size: int | None = -1, /) -> bytes:
        block = super().read1(size)
        if not block:
            raise OSError(5, "Input/output error")
        return block


def test_a_disk_error_comes_after_the_rows_before_it() -> None:
    failing = LineInput("e.csv", Failing(ROW * 3 + b"c,e"), is_owned=False, block_bytes=10)

    assert read_until_refused(read_records(failing)) == (
        [(1, EVENT), (2, EVENT), (3, EVENT)],
        f"e.csv: cannot be read after line 3: Input/output error. {AGAIN}",
    )


# --- opening ------------------------------------------------------------


@pytest.mark.parametrize("content", [HEADER + ROW, gzipped(HEADER + ROW)], ids=["plain", "gzip"])
def test_a_file_is_opened_measured_and_closed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events"
    path.write_bytes(content)

    with open_lines(str(path)) as opened:
        before = (opened.name, opened.size_bytes, opened.bytes_read)
        records = list(read_records(opened))
        after = (opened.size_bytes, opened.bytes_read)

    assert before == (str(path), len(content), 0)
    assert records == [(2, EVENT)]
    assert after == (len(content), len(content))
    with pytest.raises(ValueError, match="closed file"):
        list(read_records(opened))


def test_progress_counts_the_blocks_that_were_read(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(numbered_rows(10_000))

    with open_lines(str(path), block_bytes=1_000) as opened:
        progress = [opened.bytes_read for _ in read_records(opened)]

    assert progress == sorted(progress)
    assert progress[-1] == path.stat().st_size
    assert progress[0] < path.stat().st_size / 4


def test_a_path_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    missing, below, long = tmp_path / "no.csv", tmp_path / "file" / "x.csv", "x" * 5_000

    for path, reason in [
        (str(missing), "file not found"),
        (str(tmp_path), "is a directory: name a file in it"),
        (str(below), "cannot be opened: Not a directory"),
        (long, "cannot be opened: File name too long"),
        ("a\0b", "cannot be opened: embedded null byte"),
        ("", "is a directory: name a file in it"),
    ]:
        with pytest.raises(InvalidInput) as refused:
            open_lines(path)
        assert str(refused.value) == f"{path}: {reason}"


def test_a_file_without_read_permission_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> NoReturn:  # the superuser may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)

    with pytest.raises(InvalidInput) as refused:
        open_lines("events.csv")

    assert str(refused.value) == "events.csv: no permission to read this file"


@pytest.mark.parametrize("content", [HEADER + ROW, gzipped(HEADER + ROW)], ids=["plain", "gzip"])
def test_standard_input_is_read_and_left_open(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    with open_lines("-") as opened:
        records = list(read_records(opened))

    assert records == [(2, EVENT)]
    assert (opened.name, opened.size_bytes) == ("standard input", None)
    assert opened.bytes_read == len(content)
    assert not sys.stdin.buffer.closed


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(InvalidInput, match=r"^standard input is closed$"):
        open_lines("-")


def test_an_error_in_standard_input_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"timestamp\n")))

    with open_lines("-") as opened:
        _, reason = read_until_refused(read_records(opened))

    assert reason.startswith("standard input, line 1: the header lacks 'customer_id', ")


def test_a_slow_pipe_yields_its_rows_as_they_come() -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as pipe,
        os.fdopen(writing, "wb", buffering=0) as sender,
    ):
        rows = LineInput("pipe", pipe, is_owned=False, block_bytes=BLOCK_BYTES)
        records = read_records(rows)
        # Without rows to read the test would hang: the sender then closes after a while.
        timer = threading.Timer(10, sender.close)
        timer.start()
        got = []
        for _ in range(3):
            sender.write(ROW)
            got.append(next(records))
        timer.cancel()
        sender.close()

        assert got == [(1, EVENT), (2, EVENT), (3, EVENT)]
        assert list(records) == []
        assert rows.size_bytes is None
