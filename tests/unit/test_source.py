"""Inputs: gzip, files, pipes, and where reading stops."""

from __future__ import annotations

import io
import os
import sys
import threading
import zlib
from pathlib import Path
from typing import NoReturn

import pytest

from events.errors import InvalidInput
from events.ingest.csvrows import read_records
from events.ingest.source import BLOCK_BYTES, LineInput, open_lines
from events.models import Event
from tests.support.csvinput import (
    EVENT,
    HEADER,
    ROW,
    TEN,
    gzipped,
    numbered_rows,
    read_until_refused,
    source,
)

AGAIN = "The rows before it stay stored: fetch the file again and run again, that is safe."
COLUMNS_ARE = "the columns are customer_id,event_type,transaction_id,timestamp"


# --- inputs that cannot be used ------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b"customer_id,event_type,timestamp\n" + ROW,
            f", line 1: the header lacks 'transaction_id'; {COLUMNS_ARE}",
        ),
        (
            b"\n\n" + HEADER[:-1] + b",Amount\n" + ROW,
            f", line 3: the header does not know 'amount'; {COLUMNS_ARE}",
        ),
        (
            b"customer_id,event_type,transaction_id,timestamp,timestamp\n",
            f", line 1: the header repeats 'timestamp'; {COLUMNS_ARE}",
        ),
        (
            HEADER.replace(b",", b";") + ROW,
            ", line 1: the columns are separated by ';': separate them by commas",
        ),
        (
            b"\r\n" + HEADER.replace(b",", b"\t"),
            r", line 2: the columns are separated by '\t': separate them by commas",
        ),
        (
            b'"Customer_ID"|"Event_Type"|"x"|"y"\n',
            ", line 1: the columns are separated by '|': separate them by commas",
        ),
        ((HEADER + ROW).decode().encode("utf-16"), ": UTF-16 text: save it as UTF-8"),
        (b"\xfe\xff" + HEADER.decode().encode("utf-16-be"), ": UTF-16 text: save it as UTF-8"),
        (gzipped(HEADER.decode().encode("utf-16")), ": UTF-16 text: save it as UTF-8"),
        (
            b"PK\x03\x04\x14\0\x06\0",
            ": a zip archive or a spreadsheet (.xlsx): save it as CSV",
        ),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("block_bytes", [1, BLOCK_BYTES])
def test_an_input_that_is_not_a_csv_of_events_is_refused(
    content: bytes, problem: str, block_bytes: int
) -> None:
    records = read_records(source(content, block_bytes=block_bytes))

    assert read_until_refused(records) == ([], f"events.csv{problem}")


def test_a_name_in_gz_needs_gzip_data() -> None:
    records, reason = read_until_refused(read_records(source(HEADER + ROW, name="events.CSV.GZ")))

    assert records == []
    assert reason == "events.CSV.GZ: not gzip data, although the name ends in .gz"
    assert list(read_records(source(gzipped(ROW), name="events.csv.gz"))) == [(1, EVENT)]
    assert list(read_records(source(b"", name="empty.gz"))) == []


@pytest.mark.parametrize("block_bytes", [1, 100, BLOCK_BYTES])
def test_truncated_gzip_yields_the_whole_lines_before_the_cut(block_bytes: int) -> None:
    whole = gzipped(HEADER + numbered_rows(20_000))
    cut = whole[: len(whole) // 2]
    lines = zlib.decompressobj(wbits=31).decompress(cut).count(b"\n")
    assert 2_000 < lines < 18_000

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
