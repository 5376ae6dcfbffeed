"""CSV rows: which line becomes which event or rejection."""

from __future__ import annotations

import tracemalloc

import pytest

from events.ingest.reading import Rejection
from events.ingest.source import BLOCK_BYTES, LONGEST_LINE_BYTES
from events.models import Event
from tests.support.csvinput import (
    EVENT,
    HEADER,
    ROW,
    TEN,
    Record,
    gzipped,
    numbered_rows,
    read,
)

OPEN_QUOTE = "opens a quote that does not close on the same line"
BARE_QUOTE = "has a quote in a cell that is not quoted: quote the cell and double the quote"
TEXT_AFTER_QUOTE = "has text after a closing quote: double a quote inside quotes"
LONE_RETURN = r"has a carriage return (\r) inside: end lines with \n or \r\n"
OTHER_CHARACTERS = "has invalid characters; write it like 2021-03-01T00:10:05.657Z"


# --- whole inputs ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(HEADER + ROW, id="header"),
        pytest.param(b"\n" + ROW, id="no header, a blank line"),
        pytest.param(b"\xef\xbb\xbf" + HEADER + ROW, id="byte order mark"),
        pytest.param(b"\xef\xbb\xbf\n" + ROW, id="byte order mark, no header"),
        pytest.param((HEADER + ROW).replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param((HEADER + ROW).replace(b"\n", b"\r\r\n"), id="Python on Windows"),
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
def test_an_input_without_rows_yields_nothing(content: bytes) -> None:
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


def test_equal_rows_are_all_yielded() -> None:
    assert read(ROW * 3) == [(1, EVENT), (2, EVENT), (3, EVENT)]


@pytest.mark.parametrize("block_bytes", [1, 7, 1_000, BLOCK_BYTES])
def test_an_input_longer_than_a_block_is_read_in_order(block_bytes: int) -> None:
    content = HEADER + numbered_rows(500)

    assert read(content, block_bytes=block_bytes) == [
        (number + 2, Event("c", "e", str(number), TEN)) for number in range(500)
    ]


# --- bad lines ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason", "row"),
    [
        (b"c,e,t", "has 3 columns, not 4", "c,e,t"),
        (b"c,e,t,2021-03-01T10:00:00Z,x", "has 5 columns, not 4", None),
        (b"c;e;t;x", "has 1 column, not 4", "c;e;t;x"),
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
        (
            rb'"say \"hi\"",e,t,2021-03-01T10:00:00Z',
            "has a backslash before a quote: double the quote instead (Spark: escape='\"')",
            None,
        ),
        (b"c,e\rx,t,2021-03-01T10:00:00Z", LONE_RETURN, None),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("block_bytes", [1, 40, BLOCK_BYTES])
def test_a_bad_line_costs_itself_and_no_other(
    line: bytes, reason: str, row: str | None, end: bytes, block_bytes: int
) -> None:
    good = ROW.rstrip()
    content = end.join([good, line, good, b'"c",e,t,2021-03-01T10:00:00Z', b""])

    assert read(content, block_bytes=block_bytes) == [
        (1, EVENT),
        Rejection(2, reason, line.decode() if row is None else row),
        (3, EVENT),
        (4, EVENT),
    ]


def test_a_doubled_quote_in_a_quoted_cell_is_a_quote() -> None:
    assert read(b'"c""1",e,"t ""2"", 3",2021-03-01T10:00:00Z\n') == [
        (1, Event('c"1', "e", 't "2", 3', TEN))
    ]


@pytest.mark.parametrize("cell", ['c"1', '1"', 'c""'])
def test_a_quote_in_an_unquoted_cell_is_rejected(cell: str) -> None:
    line = f'{cell},e,"t",2021-03-01T10:00:00Z'

    assert read(ROW + line.encode() + b"\n" + ROW) == [
        (1, EVENT),
        Rejection(2, BARE_QUOTE, line),
        (3, EVENT),
    ]


def test_the_rest_of_a_broken_field_is_not_an_event() -> None:
    assert read(HEADER + b'"c\n1",e,t,2021-03-01T10:00:00Z\n') == [
        Rejection(2, OPEN_QUOTE, '"c'),
        Rejection(3, BARE_QUOTE, '1",e,t,2021-03-01T10:00:00Z'),
    ]


def test_an_event_in_the_first_row_is_not_a_header() -> None:
    assert read(b"customer_id,timestamp,t,2021-03-01T10:00:00Z\n") == [
        (1, Event("customer_id", "timestamp", "t", TEN))
    ]


def test_a_quoted_line_break_is_two_lines() -> None:
    assert read(ROW + b'c,e,"t\n1",2021-03-01T10:00:00Z\n' + ROW) == [
        (1, EVENT),
        Rejection(2, OPEN_QUOTE, 'c,e,"t'),
        Rejection(3, BARE_QUOTE, '1",2021-03-01T10:00:00Z'),
        (4, EVENT),
    ]


@pytest.mark.parametrize("text", ["x" * 1_001, "é" * 1_001, "🐢" * 1_001, "x" * 60_000])
def test_a_rejection_shows_a_thousand_characters(text: str) -> None:
    assert read(ROW + text.encode() + b"\n") == [
        (1, EVENT),
        Rejection(2, "has 1 column, not 4", text[:1_000]),
    ]


def test_bytes_that_are_not_text_are_shown_escaped() -> None:
    assert read(ROW + b"\xff" * 500 + b"\n") == [
        (1, EVENT),
        Rejection(2, "has 1 column, not 4", r"\xff" * 250),
    ]


# --- long lines ----------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("block_bytes", [1_000, 65_532, 65_533, 65_534, BLOCK_BYTES])
def test_a_line_has_at_most_65536_bytes(end: bytes, block_bytes: int) -> None:
    longest = ROW.rstrip()[:-1] + b"." + b"0" * (LONGEST_LINE_BYTES - 27) + b"Z"
    too_long = longest.replace(b"Z", b"0Z")
    rejected = Rejection(2, "has 65,537 bytes, more than 65,536", too_long.decode()[:1_000])
    assert len(longest) == LONGEST_LINE_BYTES

    def records(content: bytes) -> list[Record]:
        return read(HEADER + content, block_bytes=block_bytes)

    assert records(longest) == [(2, EVENT)]
    assert records(longest + end + ROW) == [(2, EVENT), (3, EVENT)]
    assert records(too_long) == [rejected]
    assert records(too_long + end + ROW) == [rejected, (3, EVENT)]


def test_a_line_of_ten_megabytes_needs_little_memory() -> None:
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


def test_a_long_line_of_carriage_returns_says_so() -> None:
    long = (HEADER + ROW * 3_000).replace(b"\n", b"\r") + b"\n"
    content = HEADER + long + ROW

    assert read(content, block_bytes=10_000) == read(content)
    assert read(content) == [
        Rejection(
            2,
            r"has 81,047 bytes, more than 65,536; it contains carriage returns (\r) alone: "
            r"end lines with \n or \r\n",
            long.decode()[:1_000],
        ),
        (3, EVENT),
    ]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("🐢".encode() * 20_000, id="letters of four bytes"),
        pytest.param(b"x" * 5_000 + b"\r" + b"x" * 65_000, id="a carriage return far in"),
        pytest.param(b"customer_id;event_type;" + b"x" * 70_000, id="columns and semicolons"),
    ],
)
def test_the_block_size_does_not_change_a_long_line(line: bytes) -> None:
    content = ROW + line + b"\n" + ROW

    in_one_block, in_many = read(content), read(content, block_bytes=1_000)

    assert in_one_block == in_many
    assert [in_one_block[0], *in_one_block[2:]] == [(1, EVENT), (3, EVENT)]
