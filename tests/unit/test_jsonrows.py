"""JSON Lines and Parquet: which row becomes which event or rejection."""

from __future__ import annotations

import io
import json
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from events.domain.columns import parse_mapping
from events.domain.zones import LocalTimes
from events.ingest.files import open_lines
from events.ingest.reading import Reading, Rejection
from events.ingest.records import read_records, with_format_found
from events.models import Event
from tests.support.csvinput import EVENT, TEN, gzipped, read, read_until_refused, source

AT = "2021-03-01T10:00:00Z"
WHOLE = {"customer_id": "c", "event_type": "e", "transaction_id": "t", "timestamp": AT}
LIKE = "write it like 2021-03-01T00:10:05.657Z"
BERLIN = LocalTimes(ZoneInfo("Europe/Berlin"))


def lines(*objects: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(fields).encode() + b"\n" for fields in objects)


@pytest.mark.parametrize(
    ("content", "reading", "ignored"),
    [
        (lines(WHOLE), Reading(), []),
        (b"\xef\xbb\xbf\n" + lines(WHOLE), Reading(), []),
        (lines(WHOLE).replace(b"\n", b"\r\n"), Reading(), []),
        (gzipped(lines(WHOLE)), Reading(), []),
        (b"\x1e" + lines(WHOLE) + b"\x1e\n", Reading(), []),  # jq --seq
        (b"\n" * 30 + b" " * 30 + lines(WHOLE), Reading(), []),
        (lines(WHOLE).decode().encode("utf-16"), Reading(), []),
        (lines({"x": {"customer_id": "d"}, **WHOLE, "y": None}), Reading(), ["x", "y"]),
        (lines({"userId": "c", "event": "e", "idempotencyKey": "t", "ts": AT}), Reading(), []),
        (
            lines({"id": "t", "user_id": "c", "event": "e", "created_at": AT}),
            Reading(columns=parse_mapping("transaction_id=id")),
            [],
        ),
        (
            lines(WHOLE | {"timestamp": 1614592800000}),
            Reading(timestamp_format="epoch-ms"),
            [],
        ),
        (lines(WHOLE | {"timestamp": "2021-03-01 11:00:00"}), Reading(local=BERLIN), []),
        (
            lines(WHOLE | {"timestamp": "01.03.2021 11:00"}),
            Reading(timestamp_format="%d.%m.%Y %H:%M", local=BERLIN),
            [],
        ),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 1 << 18])
def test_an_object_is_an_event(
    content: bytes, reading: Reading, ignored: list[str], block_bytes: int
) -> None:
    opened = source(content, block_bytes=block_bytes)

    assert [record[1] for record in read_records(opened, reading)] == [EVENT]
    assert opened.ignored == ignored


def test_whole_numbers_are_ids_as_they_are_written() -> None:
    text = f'{{"customer_id": 42, "event_type": -7, "transaction_id": 900719925474099312345, "timestamp": "{AT}"}}'  # noqa: E501

    assert read(text.encode()) == [(1, Event("42", "-7", "900719925474099312345", TEN))]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({**WHOLE, "customer_id": 1.5}, "customer_id: is a number that is not written as a whole"),
        ({**WHOLE, "customer_id": 1e30}, "customer_id: is a number that is not written as a who"),
        ({**WHOLE, "customer_id": 42.0}, "customer_id: is a number that is not written as a who"),
        ({**WHOLE, "event_type": None}, "event_type: is null, not a string"),
        ({**WHOLE, "event_type": True}, "event_type: is a boolean, not a string"),
        ({**WHOLE, "transaction_id": ["t"]}, "transaction_id: is an array, not a string"),
        ({**WHOLE, "timestamp": {}}, "timestamp: is an object, not a string"),
        (
            {**WHOLE, "timestamp": 1614592800},
            "timestamp: '1614592800' is a number, perhaps seconds since 1970; " + LIKE,
        ),
        ({**WHOLE, "timestamp": 5}, f"timestamp: '5' is a number; {LIKE}, or name its unit with "),
        ({"event_type": "e"}, "lacks 'customer_id', 'transaction_id', 'timestamp'; it has "),
        ({**WHOLE, "user_id": "d"}, "has several names for customer_id: 'customer_id', 'user_id'"),
        (
            {"account": "a", **{name: WHOLE[name] for name in list(WHOLE)[1:]}},
            "has 'account' for customer_id, but an earlier line has 'customer_id': use one name, "
            "or choose with "
            "--columns customer_id=customer_id",
        ),
        ({**WHOLE, "customer_id": "a\ufeff"}, "customer_id: has the invisible character U+FEFF "),
    ],
)
def test_a_bad_object_costs_its_line_only(line: dict[str, Any], reason: str) -> None:
    records = read(lines(WHOLE, line, WHOLE))

    assert [records[0], records[2]] == [(1, EVENT), (3, EVENT)]
    assert isinstance(records[1], Rejection)
    assert records[1].reason.startswith(reason)
    assert records[1].row == json.dumps(line)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"customer_id": "x", ' + lines(WHOLE)[1:], "has 'customer_id' twice"),
        (b'{"customer_id": "c"', "is not valid JSON: input data was truncated"),
        (b"c,e,t," + AT.encode(), "is not valid JSON: invalid character (byte 0)"),
        (b"[]", "is an array, not an object"),
        (b"7", "is a number, not an object"),
        (lines(WHOLE).replace(b'"c"', b'"\xff"').strip(), "customer_id: is not valid UTF-8"),
        (b'{"a": ' + b"[" * 5_000, "is nested too deeply"),
        (b'{"a": "' + b"x" * 70_000 + b'"}', "has 70,009 bytes, more than 65,536"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_line_that_is_not_an_object_is_rejected(text: bytes, reason: str) -> None:
    records = read(lines(WHOLE) + text.strip() + b"\n" + lines(WHOLE))

    assert [records[0], records[2]] == [(1, EVENT), (3, EVENT)]
    assert isinstance(records[1], Rejection)
    assert records[1].reason == reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" + lines(WHOLE) + b"]", "line 1: a JSON array. Write one object a line, as with jq "),
        (b"[\n" + lines(WHOLE) + b"]", "line 1: a JSON array. Write one object a line, as with "),
        (b'["c", "e", "t", "2021-03-01T10:00:00Z"]\n', "line 1: a JSON array. Write CSV, as with "),
        (
            json.dumps(WHOLE, indent=2).encode(),
            "line 1: not JSON Lines: the line is not valid JSON: input data was truncated. Write ",
        ),
        (
            lines({"object": "list", "da ta": [WHOLE], "links": []}),
            "line 1: an object with the array 'da ta'. Write one object a line, as with "
            "jq -c '.[\"da ta\"][]'",
        ),
        (
            lines({"event": "e", "properties": {"distinct_id": "c"}, "x": {}}),
            "line 1: the object lacks 'customer_id', 'transaction_id', 'timestamp'; it has 'event',"
            " 'properties', 'x'. If a field has another name here, add --columns customer_id=COLUMN"
            ",transaction_id=COLUMN,timestamp=COLUMN. Fields inside 'properties', 'x' are not read:"
            " move them up, as with jq -c '. + .[\"x\"]'",
        ),
        (lines({"a": [{}], "b": [{}]}), "line 1: the object lacks 'customer_id', 'event_type', "),
        (
            b"{}",
            "line 1: the object lacks 'customer_id', 'event_type', 'transaction_id', "
            "'timestamp'; it has no names. If a field has another name here, add --columns ",
        ),
        (lines({"id": "t"}), "line 1: the object lacks 'customer_id', "),
    ],
)
def test_another_json_document_stops_the_run(content: bytes, reason: str) -> None:
    records, refused = read_until_refused(read_records(source(content)))

    assert records == []
    assert refused.removeprefix("events.csv, ").startswith(reason)


# --- Parquet --------------------------------------------------------------------------------------

pa = pytest.importorskip("pyarrow")


def parquet(**columns: Any) -> bytes:
    from pyarrow import parquet as files

    names = {"c": "customer_id", "e": "event_type", "t": "transaction_id", "at": "timestamp"}
    arrays = {names.get(name, name): array for name, array in columns.items()}
    buffer = io.BytesIO()
    files.write_table(pa.table(arrays), buffer, row_group_size=2)
    return buffer.getvalue()


MICROS = 1_614_592_800_000_000
IDS: dict[str, Any] = {"c": ["c"], "e": ["e"], "t": ["t"]}
ISO = Reading()


@pytest.mark.parametrize(
    ("columns", "reading"),
    [
        ({**IDS, "at": [AT]}, ISO),
        ({**IDS, "at": pa.array([MICROS], pa.timestamp("us", "UTC"))}, ISO),
        ({**IDS, "at": pa.array([MICROS // 1000], pa.timestamp("ms", "Europe/Berlin"))}, ISO),
        ({**IDS, "at": pa.array([MICROS // 10**6], pa.timestamp("s", "UTC"))}, ISO),
        ({**IDS, "at": pa.array([MICROS * 1000 + 999], pa.timestamp("ns", "UTC"))}, ISO),
        (
            {**IDS, "at": pa.array([MICROS + 3_600_000_000], pa.timestamp("us"))},
            Reading(local=BERLIN),
        ),
        ({**IDS, "at": [MICROS // 1000]}, Reading(timestamp_format="epoch-ms")),
        ({**IDS, "at": pa.array([AT], pa.large_string())}, ISO),
        ({**{key: pa.array(v).dictionary_encode() for key, v in IDS.items()}, "at": [AT]}, ISO),
        ({**{key: pa.array([v[0].encode()]) for key, v in IDS.items()}, "at": [AT]}, ISO),
        ({**IDS, "at": pa.array([AT], pa.string_view())}, ISO),
        ({**IDS, "at": [MICROS / 10**6]}, Reading(timestamp_format="epoch-s")),
        ({**IDS, "at": [float(MICROS * 1000)]}, Reading(timestamp_format="epoch-ns")),
        ({**IDS, "at": [Decimal(MICROS) / 10**6]}, Reading(timestamp_format="epoch-s")),
        (
            {"User": ["c"], "e": ["e"], "id": ["t"], "at": [AT], "price": [1.5]},
            Reading(columns=parse_mapping("transaction_id=id")),
        ),
    ],
)
def test_a_row_of_parquet_is_an_event(columns: dict[str, Any], reading: Reading) -> None:
    content = parquet(**columns)

    for whole in (content, gzipped(content)):
        opened = source(whole)
        assert list(read_records(opened, reading)) == [(1, EVENT)]
        assert opened.ignored == (["price"] if "price" in columns else [])


def test_rows_of_parquet_are_numbered_and_rejected_alone() -> None:
    content = parquet(
        c=[1, None, 3, 4],
        e=["e", "e", "", "e"],
        t=["t", "t", "t", None],
        at=pa.array([MICROS, 0, None, -1], pa.timestamp("us", "UTC")),
    )

    assert read(content) == [
        (1, Event("1", "e", "t", TEN)),
        Rejection(2, "customer_id: is empty", '["", "e", "t", "0"]'),
        Rejection(3, "event_type: is empty", '["3", "", "t", ""]'),
        Rejection(4, "transaction_id: is empty", '["4", "e", "", "-1"]'),
    ]
    before_1970 = parquet(**IDS, at=pa.array([-1], pa.timestamp("ns", "UTC")))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert read(before_1970) == [(1, EVENT._replace(timestamp=epoch - timedelta(microseconds=1)))]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({**IDS, "at": [date(2021, 3, 1)]}, "the column 'timestamp' for timestamp has the type "),
        ({**IDS, "at": [True]}, "the column 'timestamp' for timestamp has the type bool, not a "),
        (
            {**IDS, "at": pa.array([MICROS / 10**6], pa.float32())},
            "the column 'timestamp' for timestamp has the type float, not a timestamp, text, whole "
            "numbers, decimals or doubles",
        ),
        ({**IDS, "t": [Decimal("4.2")], "at": [AT]}, "the column 'transaction_id' for transaction"),
        (
            {**IDS, "c": [42.0], "at": [AT]},
            "the column 'customer_id' for customer_id has the type double, not text or whole ",
        ),
        ({**IDS, "e": [["e"]], "at": [AT]}, "the column 'event_type' for event_type has the type "),
        ({**IDS, "e": [True], "at": [AT]}, "the column 'event_type' for event_type has the type "),
        ({"id": ["t"], "c": ["c"]}, "the table lacks 'event_type', 'transaction_id', "),
    ],
)  # fmt: skip
def test_a_table_without_suitable_columns_stops_the_run(
    columns: dict[str, Any], reason: str
) -> None:
    assert read_until_refused(read_records(source(parquet(**columns))))[1].startswith(
        f"events.csv: {reason}"
    )


def test_ids_of_parquet_may_be_decimals_and_uuids() -> None:
    unique = uuid.UUID(int=5)
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([unique.bytes], pa.binary(16)))
    content = parquet(
        c=pa.array([Decimal(10**20)], pa.decimal128(38, 0)), e=["e"], t=uuids, at=[AT]
    )

    assert read(content) == [(1, Event("100000000000000000000", "e", str(unique), TEN))]


def test_local_times_of_parquet_need_a_zone_and_a_choice() -> None:
    repeated = int(datetime(2024, 10, 27, 2, 30, tzinfo=UTC).timestamp() * 10**6)
    content = parquet(**IDS, at=pa.array([repeated], pa.timestamp("us")))

    (without,) = read(content)
    (ambiguous,) = read(content, Reading(local=BERLIN))
    second = read(content, Reading(local=BERLIN._replace(ambiguous_hour="second")))

    assert isinstance(without, Rejection)
    assert isinstance(ambiguous, Rejection)
    assert without.reason.startswith("timestamp: has no offset")
    assert ambiguous.reason.startswith("timestamp: 2024-10-27 02:30:00 occurs twice in ")
    assert second == [(1, EVENT._replace(timestamp=datetime(2024, 10, 27, 1, 30, tzinfo=UTC)))]


def test_damaged_parquet_is_named() -> None:
    for content in (b"PAR1" + b"x" * 50, parquet(**IDS, at=[AT])[:-9]):
        _, reason = read_until_refused(read_records(source(content)))
        assert reason.startswith("events.csv: the Parquet data is damaged: ")
    whole = io.BytesIO()
    pa.parquet.write_table(
        pa.table({"user": ["c" * 9], "event": ["e"], "message_id": ["t"], "time": [AT]}),
        whole,
        compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True,
    )  # fmt: skip
    changed = whole.getvalue().replace(b"c" * 9, b"c" * 8 + b"d")
    assert "damaged" in read_until_refused(read_records(source(changed)))[1]


def test_parquet_files_that_were_joined_are_refused() -> None:
    """Read by the last footer, they would be the rows of one of them."""
    one, other = (parquet(**{**IDS, "t": [name]}, at=[AT]) for name in "ab")

    assert read_until_refused(read_records(source(one + other))) == (
        [],
        "events.csv: several Parquet files in one: name each file instead of joining them",
    )


def test_auto_finds_the_format_of_numbers_in_parquet() -> None:
    content = parquet(**IDS, at=[MICROS])

    reading = with_format_found(source(content), Reading(timestamp_format="auto"))
    assert read(content, reading) == [(1, EVENT)]


def test_progress_through_parquet_follows_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    path.write_bytes(parquet(**{key: v * 4 for key, v in IDS.items()}, at=[AT] * 4))

    with open_lines(str(path)) as opened:
        progress = [opened.bytes_read for _ in read_records(opened)]

    assert progress == sorted(progress)
    assert progress[-1] == path.stat().st_size
