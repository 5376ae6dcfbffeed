"""The first lines of a file: header, delimiter, columns with other names, or none of these."""

from __future__ import annotations

import pytest

from events.domain.columns import NO_HEADER, find_columns, parse_mapping, row_parser
from events.errors import InvalidEvent, InvalidInput
from events.ingest.reading import Reading, Rejection
from events.ingest.records import read_records
from events.models import Event
from tests.support.csvinput import EVENT, HEADER, ROW, TEN, Record, read, read_until_refused, source

AT = "2021-03-01T10:00:00Z"
UNIT = "name its unit with --timestamp-format, such as epoch-s"
LIKE = "write it like 2021-03-01T00:10:05.657Z"
FIELDS = "customer_id,event_type,transaction_id,timestamp"


def refused(content: bytes | str, reading: Reading = Reading()) -> str:  # noqa: B008 - frozen
    content = content if isinstance(content, bytes) else content.encode()
    records, reason = read_until_refused(read_records(source(content), reading))
    assert records == []
    return reason.removeprefix("events.csv, ")


def mapped(text: str) -> Reading:
    return Reading(columns=parse_mapping(text))


@pytest.mark.parametrize(
    ("content", "line", "ignored"),
    [
        (f"user_id,event,idempotency_key,created_at\nc,e,t,{AT}", 2, []),
        (f"Event Name,Occurred-At,External ID,SUBJECT\ne,{AT},t,c", 2, []),
        (f"eventTime,accountId,messageId,eventType\n{AT},c,t,e", 2, []),
        (f"sep=,\nevent_type,customer_id,transaction_id,timestamp\ne,c,t,{AT}", 3, []),
        (f"sep=;\n{FIELDS.replace(',', ';')}\nc;e;t;{AT}", 3, []),
        (f'"sep=|"\r\nc|e|t|{AT}', 2, []),
        (f"{FIELDS},,\nc,e,t,{AT},,", 2, []),
        (f"{FIELDS},,\nc,e,t,{AT}", 2, []),
        (f"{FIELDS}\nc,e,t,{AT},,,", 2, []),
        (f"c,e,t,{AT},,", 1, []),
        (f",{FIELDS}\n0,c,e,t,{AT}", 2, []),  # pandas' index
        (f"Unnamed: 0,{FIELDS}\n0,c,e,t,{AT}", 2, ["Unnamed: 0"]),
        (f'{FIELDS},properties,Amount\nc,e,t,{AT},"{{""a"": 1}}",9', 2, ["properties", "Amount"]),
        (f"\n   \n{FIELDS}\n,,,\n\nc,e,t,{AT}\n , ,,\n", 6, []),
        (f',,,\n;;\n"",\n{FIELDS}\nc,e,t,{AT}', 5, []),
        (f"{FIELDS.replace(',', ';')}\nc;e;t;{AT}", 2, []),
        (f"{FIELDS.replace(',', chr(9))}\nc\te\tt\t{AT}", 2, []),
        (f"a|{FIELDS.replace(',', '|')}\n,|c|e|t|{AT}", 2, ["a"]),
        (f'"{FIELDS.replace(",", chr(34) + ";" + chr(34))}"\n"c";e;t;{AT}', 2, []),
        (f"c;e;t;{AT}", 1, []),
        (f"customer_id;event;transaction_id;timestamp;a, EUR\nc;e;t;{AT};1,5", 2, ["a, EUR"]),
        (f"subject,event,key20210301,time,id,message_id\nc,e,7,{AT},8,t", 2, ["key20210301", "id"]),
        (f"c\te\tt\t{AT}", 1, []),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 1 << 18])
def test_a_header_is_followed(
    content: str, line: int, ignored: list[str], block_bytes: int
) -> None:
    opened = source(content.encode(), block_bytes=block_bytes)

    assert list(read_records(opened)) == [(line, EVENT)]
    assert opened.ignored == ignored


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (f"id,user_id,event,created_at\nt,c,e,{AT}", "transaction_id=id"),
        (f"timestamp,visitorid,event,itemid,transactionid\n{AT},c,e,t,9",
         "customer_id=visitorid,event_type=event,transaction_id=itemid,timestamp=timestamp"),
        (f"_file,event_id,name,time,distinct_id,insert_id\na,9,e,{AT},c,t",
         "customer_id=distinct_id, event_type=name, transaction_id=insert_id"),
        (f"CustomerID,user_id,type,Key,ts\nc,9,e,t,{AT}",
         "customer_id=customerid,transaction_id=key"),
        (f"user id,event,x,time\nc,e,t,{AT}", "transaction_id=x"),
        (f"Id;id;event;time\nc;t;e;{AT}", "customer_id=Id,transaction_id=id"),
        (f"a|b|c|d\nt|{AT}|e|c", "customer_id=d,event_type=c,transaction_id=a,timestamp=b"),
        (f"customer_id,event,key,timestamp,event_type\nc,9,t,{AT},e",
         "transaction_id=key,event_type=event_type"),
        (f"subject,verb,event,time\nc,e,t,{AT}", "event_type=verb,transaction_id=event"),
        (f"{FIELDS}\nt,e,c,{AT}", "customer_id=transaction_id,transaction_id=customer_id"),
    ],
)  # fmt: skip
def test_columns_are_mapped_by_hand(content: str, columns: str) -> None:
    assert read(content.encode(), mapped(columns)) == [(2, EVENT)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            f"id,user_id,event,created_at\nt,c,e,{AT}",
            "line 1: the header lacks 'transaction_id'; it has 'id', 'user_id', 'event', "
            "'created_at'. If a field has another name here, add --columns transaction_id=COLUMN",
        ),
        ("\na,b,c,d\n", "line 2: neither an event nor a header with known names: 'a,b,c,d'. "),
        # The fourth name has many digits, but is not a time.
        (f"id,user,verb,zeit202103\n1,c,e,{AT}", "line 1: the header lacks 'event_type', "),
        (f"id,kunde,verb,zeit202103\n1,c,e,{AT}", "line 1: neither an event nor a header with "),
        ('"user_id", "event"\n', "line 1: has white space between a delimiter and a quote: "),
        ("id,name,kind,when\n", "line 1: neither an event nor a header with known names: "),
        (f"a,b,c,{AT},x\n", "line 1: neither an event nor a header with known names: "),
        ("c,e,t,7\n", "line 1: neither an event nor a header with known names: "),
        (f"c e t {AT}\n", "line 1: neither an event nor a header with known names: "),
        (
            f"customer_id,user_id,event_type,transaction_id,timestamp\nc,u,e,t,{AT}",
            "line 1: the header has several names for customer_id: 'customer_id', 'user_id'. "
            "Choose, such as --columns customer_id=customer_id",
        ),
        (f"{FIELDS},Timestamp\n", "line 1: the header has several names for timestamp: "),
        (f"{FIELDS},timestamp\n", "line 1: the header repeats 'timestamp'"),
        (f'"{FIELDS}\n', "line 1: opens a quote that does not close on the same line"),
        (f"{FIELDS}\rc,e,t,{AT}\r", "line 1: has a carriage return (\\r) inside: end lines "),
        ("x" * 70_000, "line 1: has 70,000 bytes, more than 65,536"),
        (
            " user | event | key | time\n------+---\n c | e | t | ",
            "line 1: a table for people, as ",
        ),
        (
            f"| {FIELDS.replace(',', ' | ')} |\n|--|--|--|--|",
            "line 1: a table for people, as psql ",
        ),
        ("+----+-------+\n| id | event |", "line 1: a table for people, as psql prints it: save "),
        ("┌────┬───────┐\n│ id │ event │", "line 1: a table for people, as psql prints it: save "),
        ("# June\n" + FIELDS, "line 1: neither an event nor a header with known names: '# June'. "),
    ],
)
def test_an_unknown_first_line_stops_the_run(content: str, reason: str) -> None:
    assert refused(content).startswith(reason)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("reading", [Reading(), Reading(timestamp_format="epoch-s")])
def test_commas_in_ids_do_not_hide_the_delimiter(delimiter: str, reading: Reading) -> None:
    """Split at commas, the first row has a fourth cell with many digits."""
    at = AT if reading.timestamp_format == "iso" else "1614592800"
    rows = "".join(f"{id_}{delimiter}e{delimiter}t{delimiter}{at}\n" for id_ in ("a,b,c,d", "c"))

    assert read(rows.encode(), reading) == [(1, EVENT._replace(customer_id="a,b,c,d")), (2, EVENT)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (rf"\N,e,t,{AT}", r"customer_id: is \N, which databases write for NULL"),
        (rf"c,\N,t,{AT}", r"event_type: is \N, which databases write for NULL"),
        (rf"c,e,\N,{AT}", r"transaction_id: is \N, which databases write for NULL"),
        (rf'"c",e,"\N",{AT}', r"transaction_id: is \N, which databases write for NULL"),
        (f"c,e,1.23457E+15,{AT}", "transaction_id: is 1.23457E+15, a number that a spreadsheet "),
        (f"-9.9E+10,e,t,{AT}", "customer_id: is -9.9E+10, a number that a spreadsheet shortened"),
        (f"c,e,1E+11,{AT}", "transaction_id: is 1E+11, a number that a spreadsheet shortened"),
        (f"c,e,1e+05,{AT}", "transaction_id: is 1e+05, a number that a spreadsheet shortened"),
        (f'c,e,"1,23457E+11",{AT}', "transaction_id: is 1,23457E+11, a number that a spreads"),
        (f"NULL,e,t,{AT}", "customer_id: is NULL, which databases write for a missing value"),
        (f"c,<NA>,t,{AT}", "event_type: is <NA>, which pandas writes for a missing value"),
        (f"#N/A,e,t,{AT}", "customer_id: is #N/A, which spreadsheets write for an error"),
        (r"c,e,t,\N", rf"timestamp: '\\N' is not a date and time; {LIKE}"),
    ],
)
def test_what_other_programs_put_in_place_of_ids_is_rejected(row: str, reason: str) -> None:
    for block_bytes in (1, 1 << 18):
        content = HEADER + ROW + row.encode() + b"\n" + ROW
        before, rejection, after = read(content, block_bytes=block_bytes)
        assert (before, after) == ((2, EVENT), (4, EVENT))
        assert isinstance(rejection, Rejection)
        assert rejection.reason.startswith(reason)
    # A stored event can still be voided, and similar ids are ids.
    stored = read(HEADER + row.encode(), Reading(is_stored=True))
    assert isinstance(stored[0], Rejection) == ("timestamp" in reason)
    assert read(HEADER + rb"c\N,1E+5,a1.5E+9/," + AT.encode()) == [
        (2, Event(r"c\N", "1E+5", "a1.5E+9/", EVENT.timestamp))
    ]
    assert read(f"#N,null,NULL 1,{AT}\nNA,None,nan,{AT}".encode()) == [
        (1, Event("#N", "null", "NULL 1", EVENT.timestamp)),
        (2, Event("NA", "None", "nan", EVENT.timestamp)),
    ]


def test_a_column_of_the_mapping_must_exist() -> None:
    reading = mapped("customer_id=user")

    assert refused(f"{FIELDS}\n", reading) == (
        "line 1: the header lacks 'user', named in --columns for customer_id; it has "
        "'customer_id', 'event_type', 'transaction_id', 'timestamp'"
    )
    assert refused(ROW, reading).startswith("line 1: the header lacks 'user', ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("customer_id", "'customer_id': write FIELD=COLUMN, such as customer_id=user"),
        ("customer_id=", "'customer_id=': write FIELD=COLUMN, such as customer_id=user"),
        ("user=customer_id", "'user' is unknown: the fields are " + FIELDS),
        ("timestamp=a,timestamp=b", "has 'timestamp' twice"),
    ],
)
def test_an_invalid_mapping_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_mapping(text)
    assert str(error.value) == problem


def test_a_delimiter_by_hand_is_the_only_one() -> None:
    reading = Reading(delimiter=":")

    assert read(b"customer_id:event:idempotency_key:time\nc:e:t:5", reading) == [
        Rejection(2, f"timestamp: '5' is a number; {LIKE}, or {UNIT}", "c:e:t:5")
    ]
    assert read(b"c^e^t^" + AT.encode(), Reading(delimiter="^")) == [(1, EVENT)]
    assert refused(HEADER, Reading(delimiter=";")).startswith("line 1: neither an event nor")


def test_the_same_header_may_occur_again() -> None:
    other = b"timestamp,customer_id,event_type,transaction_id\n"
    row = b"2021-03-01T10:00:00Z,c,e,t\n"

    assert read(HEADER + ROW + HEADER.upper() + ROW) == [(2, EVENT), (4, EVENT)]
    assert read(HEADER + ROW + b"\xef\xbb\xbf" + HEADER + ROW) == [(2, EVENT), (4, EVENT)]
    assert read(ROW + HEADER + ROW) == [(1, EVENT), (3, EVENT)]
    assert read(b"sep=,\n" + other + row + b"sep=,\n" + other + row) == [(3, EVENT), (6, EVENT)]


@pytest.mark.parametrize(
    "header",
    [
        "timestamp,customer_id,event_type,transaction_id",
        "event_type,customer_id,transaction_id,timestamp",
        "id,user_id,event,created_at",
        "customer_id,event_type,transaction_id,timestamp,price",
        "event_type,customer_id,transaction_id,timestamp,price2",
        "a,b,c,user_id",
    ],
)
def test_another_header_stops_at_its_line(header: str) -> None:
    content = HEADER + ROW + header.encode() + b"\n" + ROW

    records, reason = read_until_refused(read_records(source(content)))

    assert records == [(2, EVENT)]
    assert reason.startswith(f"events.csv, line 3: another header, '{header}': split the file ")


@pytest.mark.parametrize("row", ["acme,event,t-1,soon", "user,type,,", "event", "c,time,t"])
def test_a_bad_row_is_not_taken_as_a_header(row: str) -> None:
    records = read(HEADER + row.encode() + b"\n" + ROW)

    assert isinstance(records[0], Rejection)
    assert records[1:] == [(3, EVENT)]


def test_a_byte_order_mark_is_dropped_from_the_start_of_any_line() -> None:
    mark = b"\xef\xbb\xbf"
    quoted = b'"c","e","t",2021-03-01T10:00:00Z\n'

    assert read(mark + HEADER + mark + ROW + mark + mark + quoted + mark + b"\n") == [
        (2, EVENT),
        (3, EVENT),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([], "has 0 columns, not 4"),
        (["c"], "has 1 column, not 4"),
        (["c", "e", "t"], "has 3 columns, not 4"),
        (["c", "e", "t", AT, "x"], "has 5 columns, not 4"),
    ],
)
def test_a_row_without_the_columns_of_the_header_is_refused(row: list[str], reason: str) -> None:
    for layout in (NO_HEADER, find_columns(FIELDS.split(",")[::-1], {})):
        with pytest.raises(InvalidEvent) as error:
            row_parser(layout)(row)
        assert str(error.value) == reason


def test_a_short_row_lacks_only_columns_without_a_name() -> None:
    content = f"{FIELDS},price,\nc,e,t,{AT},9\nc,e,t,{AT}\nc,e,t,{AT},9,\nc,e,t,{AT},9,x,y\n"

    records: list[Record] = read(content.encode())

    assert [record[0] for record in records] == [2, 3, 4, 5]
    assert [type(record).__name__ for record in records] == [
        *("tuple", "Rejection", "tuple", "Rejection")
    ]
    assert records[1] == Rejection(3, "has 4 columns, not 5", f"c,e,t,{AT}")


def test_a_row_with_a_cell_too_many_is_not_shifted_into_a_nameless_column() -> None:
    row = f"{AT},c,a note, of two cells,e,t"

    assert read(f"timestamp,customer_id,note,event_type,transaction_id,\n{row}".encode()) == [
        Rejection(2, "has 6 columns, not 5", row)
    ]


def test_ids_that_are_names_of_columns_are_data() -> None:
    row = f"user_id,event,timestamp,{AT}"

    assert read(f"{row}\n{row}".encode()) == [
        (line, Event("user_id", "event", "timestamp", TEN)) for line in (1, 2)
    ]
