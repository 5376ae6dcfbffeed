"""Parsing JSON objects and their fields, and the reason of each refusal."""

import json
import sys
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import pytest

from events.datamodels import event_key
from events.domain.jsonevents import parse_message
from events.domain.parsing import (
    _INVISIBLE,
    COLUMNS,
    check_customer_id,
    check_event_type,
    parse_event,
)
from events.errors import (
    EventsError,
    InvalidEvent,
    InvalidInput,
    InvalidWindow,
    StoreRefused,
    StoreUnavailable,
)
from events.models import Event

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
TEXT = "2021-03-01T10:00:00Z"
IDS = ("customer_id", "event_type", "transaction_id")


def parsed(
    customer_id: str = "c", event_type: str = "e", transaction_id: str = "t", timestamp: str = TEXT
) -> Event:
    return parse_event(customer_id, event_type, transaction_id, timestamp)


def refusal(parse: Callable[[], object]) -> tuple[str | None, str]:
    with pytest.raises(InvalidEvent) as refused:
        parse()
    field, reason = refused.value.field, refused.value.reason
    assert str(refused.value) == (f"{field}: {reason}" if field else reason)
    return field, reason


# Ids


@pytest.mark.parametrize("field", IDS)
@pytest.mark.parametrize(
    "text",
    [
        "x",
        "a b",
        "a/b",
        "50%",
        "%2D",
        "a-b",
        "total#2021-03-01",
        'say "hi"',
        "=1+1",
        "null",
        "0",
        "é",
        "e\u0301",
        "żółw 🐢",
        "a\u00a0b",
        "می\u200cخواهم",  # Persian needs the joiners, and so do emoji
        "👩\u200d🚀",
        "👁\ufe0f\u200d🗨",
        "a\u2028b",
        "timestamp",
    ],
    ids=ascii,
)
def test_an_id_is_kept_as_it_is(field: str, text: str) -> None:
    ids = {"customer_id": "c", "event_type": "e", "transaction_id": "t"} | {field: text}

    assert parsed(**{field: text})._asdict() == ids | {"timestamp": TEN}


@pytest.mark.parametrize("field", IDS)
@pytest.mark.parametrize(
    ("one", "other"), [("é", "e\u0301"), ("a", "A"), ("ß", "ss"), ("ﬁ", "fi")], ids=ascii
)
def test_ids_that_look_alike_stay_different(field: str, one: str, other: str) -> None:
    assert parsed(**{field: one}) != parsed(**{field: other})


@pytest.mark.parametrize("field", IDS)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\0", "has the control character U+0000 at position 1"),
        ("a\0b", "has the control character U+0000 at position 2"),
        ("a\n", "has the control character U+000A at position 2"),
        ("a\tb", "has the control character U+0009 at position 2"),
        ("\ra", "has the control character U+000D at position 1"),
        ("a\x1f", "has the control character U+001F at position 2"),
        ("ab\x7f", "has the control character U+007F at position 3"),
        ("\u0085", "has the control character U+0085 at position 1"),
        ("é\x9fa", "has the control character U+009F at position 2"),
        (" ", "has white space at its start or end"),
        (" a", "has white space at its start or end"),
        ("a ", "has white space at its start or end"),
        ("\u00a0a", "has white space at its start or end"),
        ("a\u00a0", "has white space at its start or end"),
        ("a\u3000", "has white space at its start or end"),
        ("\u2028a", "has white space at its start or end"),
        ("a\udcffb", "is not valid UTF-8 at position 2"),
        ("\ud800", "is not valid UTF-8 at position 1"),
    ],
    ids=ascii,
)
def test_a_refused_id_says_why_and_where(field: str, text: str, reason: str) -> None:
    assert refusal(lambda: parsed(**{field: text})) == (field, reason)


@pytest.mark.parametrize("field", IDS)
@pytest.mark.parametrize(
    ("text", "character", "position"),
    [
        ("\ufeffacme", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)", 1),
        ("ac\u200bme", "U+200B (ZERO WIDTH SPACE)", 3),
        ("acme\u200b", "U+200B (ZERO WIDTH SPACE)", 5),
        ("ac\u00adme", "U+00AD (SOFT HYPHEN)", 3),
        ("\u202eemca", "U+202E (RIGHT-TO-LEFT OVERRIDE)", 1),
        ("acme\u200e", "U+200E (LEFT-TO-RIGHT MARK)", 5),
        ("a\u2066b\u2069", "U+2066 (LEFT-TO-RIGHT ISOLATE)", 2),
        ("a\u2060b", "U+2060 (WORD JOINER)", 2),
        ("acme\U000e0041", "U+E0041 (TAG LATIN CAPITAL LETTER A)", 5),
        ("a\ufffeb", "U+FFFE (a noncharacter)", 2),
        ("a\ufdd0", "U+FDD0 (a noncharacter)", 2),
        ("\U0010ffffb", "U+10FFFF (a noncharacter)", 1),
        ("ac\u200dme", "U+200D (ZERO WIDTH JOINER)", 3),
        ("é\u200dme", "U+200D (ZERO WIDTH JOINER)", 2),
        ("é\u200d", "U+200D (ZERO WIDTH JOINER)", 2),
        ("\u200cé", "U+200C (ZERO WIDTH NON-JOINER)", 1),
        ("é\u200d\u200dé", "U+200D (ZERO WIDTH JOINER)", 2),
    ],
    ids=ascii,
)
def test_an_invisible_character_is_refused_by_name_and_place(
    field: str, text: str, character: str, position: int
) -> None:
    ids = {"customer_id": "c", "event_type": "e", "transaction_id": "t"} | {field: text}

    assert refusal(lambda: parsed(**{field: text})) == (
        field,
        f"has the invisible character {character} at position {position}: remove it",
    )
    # What was stored before can still be voided and read.
    stored = parse_event(ids[IDS[0]], ids[IDS[1]], ids[IDS[2]], TEXT, is_stored=True)
    assert stored._asdict() == ids | {"timestamp": TEN}
    assert check_customer_id(text) == check_event_type(text) == text


def test_exactly_format_characters_and_noncharacters_are_invisible() -> None:
    """As far as this Python's Unicode knows them; later versions add few."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        is_format = unicodedata.category(character) == "Cf"
        is_invisible = is_format or code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
        if unicodedata.category(character) == "Cn" and not is_invisible:
            continue  # a later Unicode may assign it
        matches = _INVISIBLE.search(f"é{character}é") is not None
        assert matches is (is_invisible and character not in "\u200c\u200d"), hex(code)


def test_no_other_character_is_refused_inside_an_id() -> None:
    refused: list[str] = []
    others: list[str] = []
    for code in range(sys.maxunicode + 1):
        is_refused = unicodedata.category(chr(code)) in ("Cc", "Cs")
        (refused if is_refused else others).append(chr(code))
    for character in refused:
        with pytest.raises(InvalidEvent):
            check_customer_id(f"a{character}b")
    for batch in batched(others, 500):
        assert check_customer_id(f"a{batch}b") == f"a{batch}b"


def batched(characters: Sequence[str], size: int) -> list[str]:
    return ["".join(characters[at : at + size]) for at in range(0, len(characters), size)]


def test_the_first_field_at_fault_is_named() -> None:
    assert refusal(lambda: parsed("", "", "", ""))[0] == "customer_id"
    assert refusal(lambda: parsed("c", "", "", ""))[0] == "event_type"
    assert refusal(lambda: parsed("c", "e", "", ""))[0] == "transaction_id"
    assert refusal(lambda: parsed("c", "e", "t", "")) == ("timestamp", "is empty")


# Bounds in bytes


@pytest.mark.parametrize("text", ["c" * 2_048, "é" * 1_024, "🐢" * 512], ids=["1", "2", "4"])
def test_a_customer_id_has_at_most_2048_bytes(text: str) -> None:
    too_long = ("customer_id", "has 2,049 bytes of UTF-8, more than 2,048")

    assert parsed(text).customer_id == check_customer_id(text) == text
    assert refusal(lambda: parsed(text + "c")) == too_long
    assert refusal(lambda: check_customer_id(text + "c")) == too_long


@pytest.mark.parametrize(
    ("event_type", "transaction_id", "room"),
    [
        pytest.param("e", "t" * 994, "994", id="a long transaction"),
        pytest.param("e" * 994, "t", "1", id="a long type"),
        pytest.param("e" * 500, "t" * 495, "495", id="both"),
        pytest.param("e" * 501, "é" * 247, "494", id="two bytes each"),
        pytest.param("é" * 497, "t", "1", id="a type of two bytes each"),
        pytest.param("-" * 331 + "e", "t", "1", id="a type of dashes"),
        pytest.param("%" * 331, "tt", "2", id="a type of per cent signs"),
        pytest.param("%2D-", "%-" * 493 + "%", "987", id="nothing is escaped in a transaction"),
    ],
)
def test_a_sort_key_has_at_most_1024_bytes(event_type: str, transaction_id: str, room: str) -> None:
    event = parsed("c", event_type, transaction_id)

    assert check_event_type(event_type) == event_type
    assert len(event_key(event).encode()) == 1_024
    assert event == Event("c", event_type, transaction_id, TEN)
    assert refusal(lambda: parsed("c", event_type, transaction_id + "t")) == (
        "transaction_id",
        f"has {len(transaction_id.encode()) + 1:,} bytes of UTF-8, but only {room} are left in the "
        "1,024-byte key beside this event_type",
    )


@pytest.mark.parametrize(
    ("event_type", "size"),
    [("e" * 995, "995"), ("é" * 498, "996"), ("-" * 332, "996"), ("%" * 2_000, "6,000")],
    ids=["letters", "two bytes each", "dashes", "per cent signs"],
)
def test_an_event_type_leaves_a_byte_for_the_transaction(event_type: str, size: str) -> None:
    reason = f"takes {size} bytes of the key (% and - take three each), more than 994"

    assert refusal(lambda: parsed("c", event_type, "t")) == ("event_type", reason)
    assert refusal(lambda: check_event_type(event_type)) == ("event_type", reason)


# JSON objects

WHOLE = {"customer_id": "c", "event_type": "e", "transaction_id": "t", "timestamp": TEXT}
GOOD = json.dumps(WHOLE).encode()


def test_an_object_has_the_four_fields_in_any_order() -> None:
    for fields in (WHOLE, dict(reversed(WHOLE.items()))):
        assert parse_message(json.dumps(fields).encode()) == Event("c", "e", "t", TEN)


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"amount": 1}, None, "has an unknown field 'amount'"),
        ({"Timestamp": TEXT}, None, "has an unknown field 'Timestamp'"),
        ({"x" * 1_000_000: 1}, None, f"has an unknown field '{'x' * 100}'"),
        ({"\udcff": 1}, None, "is not valid UTF-8"),
        ({"timestamp": 1614592800}, "timestamp", "is a number, not a string"),
        ({"customer_id": None}, "customer_id", "is null, not a string"),
        ({"event_type": True}, "event_type", "is a boolean, not a string"),
        ({"transaction_id": ["t"]}, "transaction_id", "is an array, not a string"),
        ({"transaction_id": {}}, "transaction_id", "is an object, not a string"),
        ({"customer_id": ""}, "customer_id", "is empty"),
        ({"timestamp": ""}, "timestamp", "is empty"),
        ({"event_type": "a\ud800"}, "event_type", "is not valid UTF-8"),
        ({"event_type": "a\ude00\ud83d"}, "event_type", "is not valid UTF-8"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_an_invalid_object_names_its_field(
    changes: dict[str, object], field: str | None, reason: str
) -> None:
    text = json.dumps(WHOLE | changes).encode()
    assert refusal(lambda: parse_message(text)) == (field, reason)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_field_is_named(name: str) -> None:
    text = json.dumps({column: WHOLE[column] for column in COLUMNS if column != name}).encode()
    assert refusal(lambda: parse_message(text)) == (name, "is missing")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is not valid JSON: input data was truncated"),
        (b"\xff", "is not valid JSON: invalid character (byte 0)"),
        (GOOD + b"x", f"is not valid JSON: trailing characters (byte {len(GOOD) + 1})"),
        (b"[" * 100_000, "is an array, not an object"),
        (b'{"a": ' + b"[" * 100_000, "is nested too deeply"),
        (b" 7", "is a number, not an object"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_invalid_json_is_refused(text: bytes, reason: str) -> None:
    assert refusal(lambda: parse_message(text)) == (None, reason)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    text = GOOD.replace(b'"c"', b'"\xff"')
    assert refusal(lambda: parse_message(text)) == ("customer_id", "is not valid UTF-8")


@pytest.mark.parametrize("value", ["c", 'a"b', "\\", '\\"', '""""', "\\ud800", "😀"])
@pytest.mark.parametrize("name", COLUMNS[:3])
def test_escapes_are_read_and_a_repeated_field_is_refused(name: str, value: str) -> None:
    """msgspec keeps the last value of a repeated field without a word."""
    fields = WHOLE | {name: value}
    text = json.dumps(fields).encode()
    expected = Event(fields["customer_id"], fields["event_type"], fields["transaction_id"], TEN)
    assert parse_message(text) == expected
    assert parse_message(text.replace(b"_id", b"\\u005fid")) == expected
    for first in (f'{{"{name}": "x", ', f'{{"{name}": {json.dumps(value)}, ', f'{{"{name}": 1, '):
        repeated = text.replace(b"{", first.encode(), 1)
        assert refusal(partial(parse_message, repeated)) == (None, "has a field twice")


# Errors


@pytest.mark.parametrize(
    "error",
    [InvalidEvent(None, ""), InvalidWindow(""), InvalidInput(), StoreUnavailable(), StoreRefused()],
    ids=lambda error: type(error).__name__,
)
def test_every_error_is_caught_by_the_base_and_by_no_sibling(error: EventsError) -> None:
    assert type(error).__mro__[1] is EventsError
