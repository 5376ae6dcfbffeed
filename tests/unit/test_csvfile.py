"""CSV inputs, good and bad: which line gives which event or rejection, and when reading ends."""

import gzip
import io
import os
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import NoReturn
from zoneinfo import ZoneInfo

import pytest

from events.errors import InvalidInput
from events.ingest.csvrows import Numbered, Rejection, read_records
from events.ingest.source import BLOCK_BYTES, LONGEST_LINE_BYTES, LineInput, open_lines
from events.models import Event

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
EVENT = Event("c", "e", "t", TEN)
HEADER = b"customer_id,event_type,transaction_id,timestamp\n"
ROW = b"c,e,t,2021-03-01T10:00:00Z\n"
AGAIN = "The rows before it stay stored: fetch the file again and run again, that is safe."
COLUMNS_ARE = "the columns are customer_id,event_type,transaction_id,timestamp"
OPEN_QUOTE = "opens a quote that does not close on the same line"
BARE_QUOTE = "has a quote in a cell that is not quoted: quote the cell and double the quote"
TEXT_AFTER_QUOTE = "has text after a closing quote: double a quote inside quotes"
LONE_RETURN = r"has a carriage return (\r) inside: end lines by \n or \r\n"
OTHER_CHARACTERS = "has invalid characters; write it like 2021-03-01T00:10:05.657Z"
LATE_HEADER = Rejection(
    2,
    "timestamp: 'timestamp' is not a date and time; write it like 2021-03-01T00:10:05.657Z",
    HEADER.decode().rstrip(),
)

Record = Numbered | Rejection


def source(
    content: bytes, *, block_bytes: int = BLOCK_BYTES, name: str = "events.csv"
) -> LineInput:
    return LineInput(name, io.BytesIO(content), is_ours=False, block_bytes=block_bytes)


def read(
    content: bytes,
    *,
    block_bytes: int = BLOCK_BYTES,
    assume_zone: tzinfo | None = None,
    is_lenient: bool = False,
) -> list[Record]:
    records = read_records(
        source(content, block_bytes=block_bytes), assume_zone=assume_zone, is_lenient=is_lenient
    )
    return list(records)


def read_until_refused(records: Iterator[Record]) -> tuple[list[Record], str]:
    """What came before the input was refused, and why it was."""
    got: list[Record] = []
    with pytest.raises(InvalidInput) as refused:
        got.extend(records)  # extends one by one: what came before the error is kept
    return got, str(refused.value)


def numbered_rows(count: int) -> bytes:
    return b"".join(b"c,e,%d,2021-03-01T10:00:00Z\n" % number for number in range(count))


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


# Whole inputs


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(HEADER + ROW, id="header"),
        pytest.param(b"\n" + ROW, id="no header, a blank line"),
        pytest.param(b"\xef\xbb\xbf" + HEADER + ROW, id="byte order mark"),
        pytest.param(b"\xef\xbb\xbf\n" + ROW, id="byte order mark, no header"),
        pytest.param((HEADER + ROW).replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param((HEADER + ROW)[:-1], id="no line end"),
        pytest.param((HEADER + ROW)[:-1] + b"\r", id="half a line end"),
        pytest.param(HEADER.upper() + ROW, id="header in capitals"),
        pytest.param(
            b' Timestamp,"event_type",TRANSACTION_ID ,customer_id\n2021-03-01T10:00:00Z,e,t,c\n',
            id="header in another order, case and spacing",
        ),
        pytest.param(HEADER + b'"c","e","t","2021-03-01T10:00:00Z"\r\n', id="quoted"),
        pytest.param(HEADER + b'c,"e",t,2021-03-01 11:00:00.000+01', id="quoted in part"),
        pytest.param(gzipped(HEADER + ROW), id="gzip"),
        pytest.param(gzipped(b"\xef\xbb\xbf" + HEADER) + gzipped(ROW), id="gzip of two members"),
        pytest.param(gzipped(HEADER + ROW) + b"\0" * 512, id="gzip padded with zeros"),
        pytest.param(HEADER + ROW + b"\r\n\n\r\n\n", id="blank lines at the end"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 50, BLOCK_BYTES])
def test_the_second_line_is_an_event(content: bytes, block_bytes: int) -> None:
    assert read(content, block_bytes=block_bytes) == [(2, EVENT)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\r\n\n\r\n",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf\n",
        HEADER,
        HEADER[:-1],
        b"\n\n" + HEADER + b"\n",
        gzipped(b""),
        gzipped(HEADER),
    ],
)
def test_an_input_without_rows_gives_nothing(content: bytes) -> None:
    assert read(content) == []


def test_physical_lines_are_counted_with_header_and_blank_ones() -> None:
    content = b"\n\r\n" + HEADER + b"\n" + ROW + b"\r\n\n" + b"oops\n" + ROW + b"\n" + ROW[:-1]

    assert read(content) == [
        (5, EVENT),
        Rejection(8, "has 1 column, not 4", "oops"),
        (9, EVENT),
        (11, EVENT),
    ]


def test_any_number_of_blank_lines_may_come_first() -> None:
    assert read(b"\n" * 7 + ROW) == [(8, EVENT)]
    assert read(b"\r\n" * 7 + HEADER + ROW) == [(9, EVENT)]


def test_a_bad_first_row_does_not_stop_the_rest() -> None:
    assert read(b"c;e;t;x\n" + ROW) == [
        Rejection(1, "has 1 column, not 4: separate them by commas", "c;e;t;x"),
        (2, EVENT),
    ]
    assert read(b'"c,e,t,x\n' + ROW) == [Rejection(1, OPEN_QUOTE, '"c,e,t,x'), (2, EVENT)]


def test_equal_rows_are_all_given() -> None:
    assert read(ROW * 3) == [(1, EVENT), (2, EVENT), (3, EVENT)]


def test_a_header_is_one_only_in_the_first_line() -> None:
    assert read(ROW + HEADER + ROW) == [(1, EVENT), LATE_HEADER, (3, EVENT)]


def test_zone_and_leniency_reach_every_row_and_are_off_by_default() -> None:
    local = b"c,e,t,2021-03-01 11:00:00\n"
    free = b'c,e,t,"March 1, 2021 10:00 UTC"\n'
    berlin = ZoneInfo("Europe/Berlin")

    assert read(HEADER + local * 2, assume_zone=berlin) == [(2, EVENT), (3, EVENT)]
    assert read(local + free, assume_zone=berlin, is_lenient=True) == [(1, EVENT), (2, EVENT)]
    assert read(local + free) == [
        Rejection(
            1,
            "timestamp: has no offset: add Z or +00:00, or name the zone to assume",
            "c,e,t,2021-03-01 11:00:00",
        ),
        Rejection(
            2,
            "timestamp: 'March 1, 2021 10:00 UTC' is not a date and time; "
            "write it like 2021-03-01T00:10:05.657Z",
            'c,e,t,"March 1, 2021 10:00 UTC"',
        ),
    ]


@pytest.mark.parametrize("block_bytes", [1, 7, 1_000, BLOCK_BYTES])
def test_an_input_longer_than_a_block_is_read_in_order(block_bytes: int) -> None:
    content = HEADER + numbered_rows(500)

    assert read(content, block_bytes=block_bytes) == [
        (number + 2, Event("c", "e", str(number), TEN)) for number in range(500)
    ]


# Bad lines


@pytest.mark.parametrize(
    ("line", "reason", "row"),
    [
        (b"c,e,t", "has 3 columns, not 4", "c,e,t"),
        (b"c,e,t,2021-03-01T10:00:00Z,", "has 5 columns, not 4", None),
        (b" ", "has 1 column, not 4", " "),
        (b'""', "has 1 column, not 4", '""'),
        (b"c;e;t;x", "has 1 column, not 4: separate them by commas", "c;e;t;x"),
        (b"c\te\tt\tx", "has 1 column, not 4: separate them by commas", "c\te\tt\tx"),
        (b",e,t,2021-03-01T10:00:00Z", "customer_id: is empty", None),
        (b'"",e,t,2021-03-01T10:00:00Z', "customer_id: is empty", None),
        (b"c,e,t,", "timestamp: is empty", "c,e,t,"),
        (
            b"c, e,t,2021-03-01T10:00:00Z",
            "event_type: has white space at its start or end",
            None,
        ),
        (
            b"c,e\0,t,2021-03-01T10:00:00Z",
            "event_type: has the control character U+0000 at position 2",
            "c,e\0,t,2021-03-01T10:00:00Z",
        ),
        (
            b"c,e,t,2021-03-01T10:00:00Z\0",
            rf"timestamp: '2021-03-01T10:00:00Z\x00' {OTHER_CHARACTERS}",
            None,
        ),
        (
            "c,e,t\u0085,x".encode(),
            "transaction_id: has the control character U+0085 at position 2",
            None,
        ),
        ("c,e,\u00a0t,x".encode(), "transaction_id: has white space at its start or end", None),
        (b"\xe9,e,t,x", "customer_id: is not valid UTF-8 at position 1", r"\xe9,e,t,x"),
        (b"c,a\xff\xfe,t,x", "event_type: is not valid UTF-8 at position 2", r"c,a\xff\xfe,t,x"),
        # A surrogate, which UTF-8 has no bytes for.
        (
            b"c\xed\xa0\x80,e,t,x",
            "customer_id: is not valid UTF-8 at position 2",
            r"c\xed\xa0\x80,e,t,x",
        ),
        (
            b"c,e,t,2021\xff",
            rf"timestamp: '2021\udcff' {OTHER_CHARACTERS}",
            r"c,e,t,2021\xff",
        ),
        (b'"c,e,t,2021-03-01T10:00:00Z', OPEN_QUOTE, None),
        (b'c,e,t,"2021-03-01T10:00:00Z', OPEN_QUOTE, None),
        (b'"c"x,e,t,2021-03-01T10:00:00Z', TEXT_AFTER_QUOTE, None),
        (b'"c" ,e,t,2021-03-01T10:00:00Z', TEXT_AFTER_QUOTE, None),
        (b"c,e\rx,t,2021-03-01T10:00:00Z", LONE_RETURN, None),
        (b"c,e,t,2021-03-01T10:00:00Z\r", LONE_RETURN, None),  # before the \r of a line end
    ],
    ids=ascii,
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("block_bytes", [1, 40, BLOCK_BYTES])
def test_a_bad_line_costs_itself_and_no_other(
    line: bytes, reason: str, row: str | None, end: bytes, block_bytes: int
) -> None:
    if line.endswith(b"\r"):
        end = b"\r\n"
    good = ROW.rstrip()
    content = end.join([good, line, good, b'"c",e,t,2021-03-01T10:00:00Z', b""])

    assert read(content, block_bytes=block_bytes) == [
        (1, EVENT),
        Rejection(2, reason, line.decode() if row is None else row),
        (3, EVENT),
        (4, EVENT),
    ]


def test_a_doubled_quote_within_a_quoted_cell_is_part_of_it() -> None:
    assert read(b'"c""1",e,"t ""2"", 3",2021-03-01T10:00:00Z\n') == [
        (1, Event('c"1', "e", 't "2", 3', TEN))
    ]


@pytest.mark.parametrize("cell", ['c"1', '1"', 'c""'])
def test_a_quote_within_a_cell_that_is_not_quoted_is_rejected(cell: str) -> None:
    line = f'{cell},e,"t",2021-03-01T10:00:00Z'

    assert read(ROW + line.encode() + b"\n" + ROW) == [
        (1, EVENT),
        Rejection(2, BARE_QUOTE, line),
        (3, EVENT),
    ]


def test_the_rest_of_a_field_with_a_line_break_is_no_event_of_somebody_else() -> None:
    assert read(b'"c\n1",e,t,2021-03-01T10:00:00Z\n') == [
        Rejection(1, OPEN_QUOTE, '"c'),
        Rejection(2, BARE_QUOTE, '1",e,t,2021-03-01T10:00:00Z'),
    ]


def test_a_first_row_that_is_an_event_is_no_header_whatever_its_ids_are() -> None:
    assert read(b"customer_id,timestamp,t,2021-03-01T10:00:00Z\n") == [
        (1, Event("customer_id", "timestamp", "t", TEN))
    ]


def test_the_lines_of_a_quoted_line_break_are_judged_one_by_one() -> None:
    assert read(ROW + b'c,e,"t\n1",2021-03-01T10:00:00Z\n' + ROW) == [
        (1, EVENT),
        Rejection(2, OPEN_QUOTE, 'c,e,"t'),
        Rejection(3, BARE_QUOTE, '1",2021-03-01T10:00:00Z'),
        (4, EVENT),
    ]


def test_lines_that_end_in_carriage_returns_alone_are_one_rejection() -> None:
    content = (HEADER + ROW * 2).replace(b"\n", b"\r")

    assert read(content) == [Rejection(1, LONE_RETURN, content.decode()[:-1])]


def test_utf_16_without_a_byte_order_mark_is_rejected_line_by_line() -> None:
    row = ROW.decode().rstrip().encode("utf-16-le").decode()
    reason = "customer_id: has the control character U+0000 at position"

    assert read((ROW * 2).decode().encode("utf-16-le")) == [
        Rejection(1, f"{reason} 2", row),
        Rejection(2, f"{reason} 1", f"\0{row}"),
        Rejection(3, "has 1 column, not 4", "\0"),
    ]


@pytest.mark.parametrize("text", ["x" * 1_001, "é" * 1_001, "🐢" * 1_001, "x" * 60_000])
def test_a_rejection_shows_a_thousand_characters(text: str) -> None:
    assert read(ROW + text.encode() + b"\n") == [
        (1, EVENT),
        Rejection(2, "has 1 column, not 4", text[:1_000]),
    ]


def test_bytes_that_are_no_text_are_shown_as_escapes_within_the_bound() -> None:
    assert read(ROW + b"\xff" * 500 + b"\n") == [
        (1, EVENT),
        Rejection(2, "has 1 column, not 4", r"\xff" * 250),
    ]


# Long lines


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("block_bytes", [1_000, 65_532, 65_533, 65_534, BLOCK_BYTES])
def test_a_line_has_at_most_65536_bytes(end: bytes, block_bytes: int) -> None:
    longest = ROW.rstrip()[:-1] + b"." + b"0" * (LONGEST_LINE_BYTES - 27) + b"Z"
    too_long = longest.replace(b"Z", b"0Z")
    rejected = Rejection(1, "has 65,537 bytes, more than 65,536", too_long.decode()[:1_000])
    assert len(longest) == LONGEST_LINE_BYTES

    assert read(longest, block_bytes=block_bytes) == [(1, EVENT)]
    assert read(longest + end + ROW, block_bytes=block_bytes) == [(1, EVENT), (2, EVENT)]
    assert read(too_long, block_bytes=block_bytes) == [rejected]
    assert read(too_long + end + ROW, block_bytes=block_bytes) == [rejected, (2, EVENT)]


def test_ten_megabytes_without_a_line_end_are_one_rejection_and_little_memory() -> None:
    content = ROW + b"x" * 10_000_000 + b"\n" + ROW

    tracemalloc.start()
    try:
        records = read(content)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert records == [
        (1, EVENT),
        Rejection(2, "has 10,000,000 bytes, more than 65,536", "x" * 1_000),
        (3, EVENT),
    ]
    assert peak_bytes < 3_000_000


def test_a_long_first_line_is_no_header_and_no_end() -> None:
    content = b"x" * 100_000 + b"\n" + HEADER + ROW

    assert read(content, block_bytes=1_000) == read(content)
    assert read(content) == [
        Rejection(1, "has 100,000 bytes, more than 65,536", "x" * 1_000),
        LATE_HEADER,
        (3, EVENT),
    ]


def test_a_long_line_of_carriage_returns_says_so() -> None:
    content = (HEADER + ROW * 3_000).replace(b"\n", b"\r") + b"\n" + ROW

    assert read(content, block_bytes=10_000) == read(content)
    assert read(content) == [
        Rejection(
            1,
            r"has 81,047 bytes, more than 65,536; it has carriage returns (\r) alone: "
            r"end lines by \n or \r\n",
            content.decode()[:1_000],
        ),
        (2, EVENT),
    ]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("🐢".encode() * 20_000, id="letters of four bytes"),
        pytest.param(b"x" * 5_000 + b"\r" + b"x" * 65_000, id="a carriage return far in"),
        pytest.param(b"customer_id;event_type;" + b"x" * 70_000, id="columns and semicolons"),
    ],
)
def test_a_long_line_is_rejected_alike_whether_or_not_it_fits_a_block(line: bytes) -> None:
    content = line + b"\n" + ROW

    in_one_block, in_many = read(content), read(content, block_bytes=1_000)

    assert in_one_block == in_many
    assert in_one_block[1:] == [(2, EVENT)]


# Inputs that are refused whole


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
        ((HEADER + ROW).decode().encode("utf-16"), ": is UTF-16: save it as UTF-8"),
        (b"\xfe\xff" + HEADER.decode().encode("utf-16-be"), ": is UTF-16: save it as UTF-8"),
        (gzipped(HEADER.decode().encode("utf-16")), ": is UTF-16: save it as UTF-8"),
        (
            b"PK\x03\x04\x14\0\x06\0",
            ": is a zip archive or a spreadsheet (.xlsx): save it as CSV",
        ),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("block_bytes", [1, BLOCK_BYTES])
def test_an_input_that_is_no_csv_of_events_is_refused(
    content: bytes, problem: str, block_bytes: int
) -> None:
    records = read_records(source(content, block_bytes=block_bytes))

    assert read_until_refused(records) == ([], f"events.csv{problem}")


def test_a_name_in_gz_promises_gzip() -> None:
    records, reason = read_until_refused(read_records(source(HEADER + ROW, name="events.CSV.GZ")))

    assert records == []
    assert reason == "events.CSV.GZ: is named .gz but holds no gzip data: rename it"
    assert list(read_records(source(gzipped(ROW), name="events.csv.gz"))) == [(1, EVENT)]
    assert list(read_records(source(b"", name="empty.gz"))) == []


@pytest.mark.parametrize("block_bytes", [1, 100, BLOCK_BYTES])
def test_gzip_cut_off_gives_the_whole_lines_before_the_cut(block_bytes: int) -> None:
    whole = gzipped(HEADER + numbered_rows(20_000))
    cut = whole[: len(whole) // 2]
    lines = zlib.decompressobj(wbits=31).decompress(cut).count(b"\n")
    assert 2_000 < lines < 18_000

    records, reason = read_until_refused(read_records(source(cut, block_bytes=block_bytes)))

    assert records == [(line, Event("c", "e", str(line - 2), TEN)) for line in range(2, lines + 1)]
    assert reason == f"events.csv: the gzip data is cut off after line {lines:,}. {AGAIN}"


@pytest.mark.parametrize("size", [2, 9, 12, 40])
def test_gzip_cut_off_at_once_gives_nothing(size: int) -> None:
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
def test_damaged_gzip_says_that_rows_before_it_may_be_wrong(
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


def test_a_disk_that_fails_is_named_after_the_rows_before_it() -> None:
    failing = LineInput("e.csv", Failing(ROW * 3 + b"c,e"), is_ours=False, block_bytes=10)

    assert read_until_refused(read_records(failing)) == (
        [(1, EVENT), (2, EVENT), (3, EVENT)],
        f"e.csv: cannot be read after line 3: Input/output error. {AGAIN}",
    )


# Opening


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


def test_progress_is_never_more_than_the_blocks_read(tmp_path: Path) -> None:
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
        (str(missing), "there is no such file"),
        (str(tmp_path), "is a directory: name a file in it"),
        (str(below), "cannot be opened: Not a directory"),
        (long, "cannot be opened: File name too long"),
        ("a\0b", "cannot be opened: embedded null byte"),
        ("", "is a directory: name a file in it"),
    ]:
        with pytest.raises(InvalidInput) as refused:
            open_lines(path)
        assert str(refused.value) == f"{path}: {reason}"


def test_a_file_that_may_not_be_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> NoReturn:  # the superuser may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)

    with pytest.raises(InvalidInput) as refused:
        open_lines("events.csv")

    assert str(refused.value) == (
        "events.csv: may not be read by this user: change its permissions"
    )


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


def test_a_refusal_of_standard_input_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"timestamp\n")))

    with open_lines("-") as opened:
        _, reason = read_until_refused(read_records(opened))

    assert reason.startswith("standard input, line 1: the header lacks 'customer_id', ")


def test_a_slow_pipe_gives_its_rows_as_they_come() -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as pipe,
        os.fdopen(writing, "wb", buffering=0) as sender,
    ):
        rows = LineInput("pipe", pipe, is_ours=False, block_bytes=BLOCK_BYTES)
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
