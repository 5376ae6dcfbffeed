"""CSV: whatever the bytes and the block size, each line has one outcome, in order."""

import csv
import io
import json
import re
from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from events.domain.timestamps import format_timestamp
from events.errors import InvalidInput
from events.ingest.reading import Numbered, Reading, Rejection
from events.ingest.records import read_records, with_format_found
from events.ingest.source import BLOCK_BYTES, LineInput
from events.models import Event
from tests.property.strategies import HOUR_ZERO, ids

HEADER = b"customer_id,event_type,transaction_id,timestamp"
MARK = b"\xef\xbb\xbf"
ROW = b"c,e,t,2021-03-01T00:00:00Z"

Record = Numbered | Rejection

block_sizes = st.integers(1, 40) | st.sampled_from([100, 1_000, BLOCK_BYTES])
line_ends = st.sampled_from([b"\n", b"\r\n"])
#: Pieces that mean something to a CSV reader, to gzip or to UTF-8.
pieces = st.sampled_from(
    [b'"', b'""', b",", b";", b"\t", b"\r", b"\0", b" ", b"c", ROW, ROW[-20:]]
) | st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1f\x8b", b"\xc3\xa9"])
garbage = (st.binary(max_size=60) | st.lists(pieces, max_size=12).map(b"".join)).map(
    lambda text: text.replace(b"\n", b"")
)


three_ids = st.tuples(ids(max_size=3), ids(max_size=3), ids(max_size=3))


@st.composite
def good_rows(draw: st.DrawFn) -> tuple[bytes, Event]:
    """A line as a CSV writer makes it, and its event."""
    texts = customer_id, event_type, transaction_id = draw(three_ids)
    at = HOUR_ZERO + timedelta(microseconds=draw(st.integers(0, 10**12)))
    is_quoted = draw(st.booleans()) or any('"' in text or "," in text for text in texts)
    cells = [*texts, format_timestamp(at)]
    if is_quoted:
        cells = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    return ",".join(cells).encode(), Event(customer_id, event_type, transaction_id, at)


def read(content: bytes, block_bytes: int) -> list[Record]:
    source = LineInput("e.csv", io.BytesIO(content), is_owned=False, block_bytes=block_bytes)
    return list(read_records(source))


def without_ends(line: bytes) -> bytes:
    """A physical line without its byte order marks and its line end."""
    while line.startswith(MARK):
        line = line.removeprefix(MARK)
    return line.removesuffix(b"\r")


def is_blank(line: bytes) -> bool:
    """Whether a line has no text beside delimiters and pairs of quotes, as rows of `,,,` do."""
    if b"\r" in line:
        return False
    try:
        cells = next(csv.reader([line.decode("utf-8", "replace")], strict=True), [])
    except csv.Error:
        return False
    return not "".join(cells).strip() and not re.search(rb'[^,]"+[^,]', line)


def line_of(record: Record) -> int:
    return record.line if isinstance(record, Rejection) else record[0]


@given(st.lists(st.tuples(garbage | st.just(ROW), line_ends)), st.booleans(), block_sizes)
@example([(b"\r", b"\n"), (b"", b"\r\n"), (b'"', b"\n"), (b'"', b"\n")], False, 1)
def test_every_line_that_is_not_blank_has_one_outcome(
    lines: list[tuple[bytes, bytes]], is_ended: bool, block_bytes: int
) -> None:
    content = HEADER + b"\n" + b"".join(text + end for text, end in lines)
    if not is_ended:
        content = content.removesuffix(b"\n")
    physical = [without_ends(line) for line in content.split(b"\n")]

    records = read(content, block_bytes)

    not_blank = [
        number for number, line in enumerate(physical, 1) if number > 1 and not is_blank(line)
    ]
    assert [line_of(record) for record in records] == not_blank
    for record in records:
        if isinstance(record, Rejection):
            shown = physical[record.line - 1].decode("utf-8", "backslashreplace")
            assert record.row == shown[:1_000]
            assert record.reason.isprintable()


@given(st.binary(), block_sizes)
@example(b"\xef\xbb\xbf\xef\xbb\xbf", 1)
@example(b"\r\n\n" + ROW, 2)
def test_any_bytes_after_a_first_row_are_read_to_their_last_line(
    content: bytes, block_bytes: int
) -> None:
    content = ROW + b"\n" + content

    records = read(content, block_bytes)

    assert records[0] == (1, Event("c", "e", "t", HOUR_ZERO))
    lines = enumerate(map(without_ends, content.split(b"\n")), 1)
    assert {line_of(record) for record in records} == {n for n, line in lines if not is_blank(line)}


@given(st.lists(garbage | st.sampled_from([ROW, HEADER, b""])), line_ends, block_sizes)
def test_records_do_not_depend_on_the_size_of_a_block(
    lines: list[bytes], end: bytes, block_bytes: int
) -> None:
    content = end.join([b"", ROW, *lines])

    assert read(content, block_bytes) == read(content, BLOCK_BYTES)


@given(st.lists(st.tuples(garbage, st.lists(good_rows(), max_size=3))), line_ends, block_sizes)
def test_good_rows_survive_amid_any_garbage(
    stretches: list[tuple[bytes, list[tuple[bytes, Event]]]], end: bytes, block_bytes: int
) -> None:
    lines, good = [HEADER], []
    for bad, rows in stretches:
        lines.append(bad)
        for text, event in rows:
            lines.append(text)
            good.append((len(lines), event))

    records = read(end.join(lines), block_bytes)

    good_lines = {line for line, _ in good}
    assert [record for record in records if line_of(record) in good_lines] == good


names = st.sampled_from(
    ["customer_id", "user_id", "event_type", "event", "transaction_id", "id", "timestamp", "time"]
) | st.sampled_from(["", " Customer ID", "price", "a", "7"])
values = st.sampled_from(
    ["c", "e", "t", "event", "2021-03-01T00:00:00Z", "01.03.2021", "7", "", " "]
)
delimiters = st.sampled_from([",", ";", "\t", "|"])
cells = st.lists(names, min_size=3, max_size=6) | st.lists(values, min_size=3, max_size=6)
texts = st.builds(lambda delimiter, row: delimiter.join(row).encode(), delimiters, cells)
json_texts = st.dictionaries(names, values | st.integers() | st.none()).map(json.dumps)
any_lines = st.one_of(
    texts,
    garbage,
    json_texts.map(str.encode),
    st.sampled_from([HEADER, HEADER, ROW, HEADER.replace(b",", b";"), b"sep=;", b"[", b"{"]),
)


@given(st.lists(any_lines, max_size=8), st.sampled_from(["iso", "auto", "epoch-ms"]), line_ends)
@example([b"a,b,c,user_id", ROW], "iso", b"\n")
@example([HEADER, ROW, b"user_id,event,id,time", ROW], "iso", b"\n")
@example([b"sep=;", ROW], "auto", b"\n")
def test_no_row_of_any_input_disappears(lines: list[bytes], name: str, end: bytes) -> None:
    """Each line is an event, a rejection, blank, or the header; or the run stops."""
    content = end.join(lines)

    def opened() -> LineInput:
        return LineInput("e", io.BytesIO(content), is_owned=False, block_bytes=BLOCK_BYTES)

    try:
        reading = Reading(timestamp_format=name)
        if name == "auto":
            reading = with_format_found(opened(), reading)
        numbers = [line_of(record) for record in read_records(opened(), reading)]
    except InvalidInput:
        return
    assert numbers == sorted(set(numbers))
    physical = [without_ends(line).strip() for line in content.split(b"\n")]
    others = {
        line.lower().strip(b",;|\t ")
        for number, line in enumerate(physical, 1)
        if number not in numbers
    }
    others = {line for line in others if line.strip(b'," ;|\t') and not line.startswith(b"sep=")}
    assert len(others) <= 1, "only the header is left out, wherever it occurs"
