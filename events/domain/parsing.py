"""CSV rows and JSON objects to events."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from functools import lru_cache, partial
from operator import itemgetter

from events.domain.timestamps import parse_timestamp
from events.errors import InvalidEvent, InvalidInput
from events.models import MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES, Event

COLUMNS = ("customer_id", "event_type", "transaction_id", "timestamp")

#: The stored key is `<27 characters>-<event type, % and - escaped>-<transaction id>`.
_KEY_OVERHEAD_BYTES = 29
#: Of the reason of a correction.
MAX_REASON_CHARACTERS = 500
#: Of an unknown field's name, in characters.
_LONGEST_SHOWN = 100
#: Control characters (Unicode's Cc), and halves of a pair, which JSON can name and UTF-8 cannot.
_NOT_IN_IDS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: What JSON calls the types that `json.loads` makes.
_JSON_NAMES: dict[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
    str: "a string",
    type(None): "null",
}


def parse_event(
    customer_id: str,
    event_type: str,
    transaction_id: str,
    timestamp: str,
    *,
    assume_zone: tzinfo | None = None,
    is_lenient: bool = False,
) -> Event:
    """
    The event that four texts name. Files, HTTP and Kafka all come through here.

    Ids are non-empty, without control characters or outer white space, and kept to the byte;
    for the bounds see `MAX_PARTITION_KEY_BYTES` and `MAX_SORT_KEY_BYTES`. The timestamp is read
    by `parse_timestamp`.

    Raises:
        InvalidEvent: Names the first field at fault and why.
    """
    customer_id = _checked_customer_id(customer_id)
    event_type, room = _checked_event_type(event_type)
    if not (
        transaction_id.isascii()
        and transaction_id.isprintable()
        and 0 < len(transaction_id) <= room
        and transaction_id[0] != " " != transaction_id[-1]
    ):
        _check_id("transaction_id", transaction_id)
        size = len(transaction_id.encode())
        if size > room:
            raise InvalidEvent(
                "transaction_id",
                f"has {size:,} bytes of UTF-8, but only {room:,} are left in the "
                f"{MAX_SORT_KEY_BYTES:,}-byte key beside this event_type",
            )
    return Event(
        customer_id,
        event_type,
        transaction_id,
        parse_timestamp(timestamp, assume_zone=assume_zone, is_lenient=is_lenient),
    )


# Customers and types come again and again: checked once, and one string object held for all. The
# longest ones there can be take 24 MB.
@lru_cache(maxsize=8_192)
def _checked_customer_id(text: str) -> str:
    _check_id("customer_id", text)
    size = len(text.encode())
    if size > MAX_PARTITION_KEY_BYTES:
        raise InvalidEvent(
            "customer_id", f"has {size:,} bytes of UTF-8, more than {MAX_PARTITION_KEY_BYTES:,}"
        )
    return text


@lru_cache(maxsize=8_192)
def _checked_event_type(text: str) -> tuple[str, int]:
    """The type, and the bytes that it leaves for a transaction id."""
    _check_id("event_type", text)
    size = len(text.encode()) + 2 * (text.count("%") + text.count("-"))
    room = MAX_SORT_KEY_BYTES - _KEY_OVERHEAD_BYTES - size
    if room < 1:
        longest = MAX_SORT_KEY_BYTES - _KEY_OVERHEAD_BYTES - 1
        raise InvalidEvent(
            "event_type",
            f"takes {size:,} bytes of the key (% and - take three each), more than {longest:,}",
        )
    return text, room


def _check_id(field: str, text: str) -> None:
    if not text:
        raise InvalidEvent(field, "is empty")
    wrong = _NOT_IN_IDS.search(text)
    if wrong is not None:
        place = wrong.start() + 1
        if wrong[0] >= "\ud800":
            raise InvalidEvent(field, f"is not valid UTF-8 at position {place}")
        raise InvalidEvent(
            field, f"has the control character U+{ord(wrong[0]):04X} at position {place}"
        )
    if text[0].isspace() or text[-1].isspace():
        raise InvalidEvent(field, "has white space at its start or end")


def check_customer_id(text: str) -> str:
    """`text` as it is if it can be a customer's id; raises `InvalidEvent`."""
    return _checked_customer_id(text)


def check_event_type(text: str) -> str:
    """`text` as it is if it can be an event's type; raises `InvalidEvent`."""
    return _checked_event_type(text)[0]


RowParser = Callable[[Sequence[str]], Event]


def is_header(row: Sequence[str]) -> bool:
    """Whether a first row names columns: it holds one of our names, in any case and spacing."""
    return any(cell.strip().lower() in COLUMNS for cell in row)


def row_parser(
    header: Sequence[str] | None = None,
    *,
    assume_zone: tzinfo | None = None,
    is_lenient: bool = False,
) -> RowParser:
    """
    A parser of CSV rows with these columns.

    Args:
        header: The column names, in any order; None means the order of `COLUMNS`.
        assume_zone: As for `parse_timestamp`.
        is_lenient: As for `parse_timestamp`.

    Raises:
        InvalidInput: A column is missing, there twice, or not one of `COLUMNS`.
    """
    parse = parse_event
    if assume_zone is not None or is_lenient:
        parse = partial(parse_event, assume_zone=assume_zone, is_lenient=is_lenient)
    names = COLUMNS if header is None else tuple(cell.strip().lower() for cell in header)
    if sorted(names) != sorted(COLUMNS):
        raise InvalidInput(_why_no_header(names))
    in_order = itemgetter(*(names.index(column) for column in COLUMNS))
    is_in_order = names == COLUMNS

    def parse_row(row: Sequence[str]) -> Event:
        if len(row) != 4:
            raise InvalidEvent(None, _why_not_four(row))
        if is_in_order:
            customer_id, event_type, transaction_id, timestamp = row
        else:
            customer_id, event_type, transaction_id, timestamp = in_order(row)
        return parse(customer_id, event_type, transaction_id, timestamp)

    return parse_row


def _why_not_four(row: Sequence[str]) -> str:
    reason = f"has {len(row)} column{'' if len(row) == 1 else 's'}, not 4"
    if len(row) == 1 and (row[0].count(";") == 3 or row[0].count("\t") == 3):
        reason += ": separate them by commas"
    return reason


def _why_no_header(names: Sequence[str]) -> str:
    missing = [column for column in COLUMNS if column not in names]
    unknown = [name for name in names if name not in COLUMNS]
    twice = sorted({name for name in names if name in COLUMNS and names.count(name) > 1})
    parts = [
        f"{said} {', '.join(map(repr, which))}"
        for said, which in (("lacks", missing), ("does not know", unknown), ("repeats", twice))
        if which
    ]
    return f"the header {' and '.join(parts)}; the columns are {','.join(COLUMNS)}"


class _RepeatedField(dict[str, object]):
    """A JSON object with a field given twice, of which `json` alone would keep the last."""

    def __init__(self, fields: dict[str, object], name: str) -> None:
        super().__init__(fields)
        self.name = name


def parse_json(text: bytes) -> object:
    """
    What a JSON document holds.

    Stricter than `json.loads`: UTF-8 alone, no NaN or Infinity; an object with a field twice is
    kept, and refused where it is looked at.

    Raises:
        InvalidInput: It is no JSON; says where.
    """
    try:
        return json.loads(text.decode(), object_pairs_hook=_fields, parse_constant=_refuse_constant)
    except UnicodeDecodeError as exc:
        raise InvalidInput(f"is not valid UTF-8 at byte {exc.start + 1}") from exc
    except json.JSONDecodeError as exc:
        raise InvalidInput(
            f"is no JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}"
        ) from exc
    except RecursionError as exc:
        raise InvalidInput("is nested too deeply") from exc
    except ValueError as exc:  # a constant, or a number of thousands of digits
        raise InvalidInput(f"is no JSON: {exc}") from exc


def _fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:  # there may be hundreds of thousands: each is looked at once
            if name in seen:
                return _RepeatedField(fields, name)
            seen.add(name)
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def parse_fields(
    document: object, required: Sequence[str], optional: Sequence[str] = ()
) -> Mapping[str, object]:
    """
    The fields of a JSON object, of these names alone.

    Raises:
        InvalidEvent: It is no object, or a field is missing, unknown or there twice.
    """
    if not isinstance(document, dict):
        raise InvalidEvent(None, f"is {json_name(document)}, not an object")
    if isinstance(document, _RepeatedField):
        # Halves of a pair, which are in no UTF-8, cannot be in an answer either.
        name = document.name[:_LONGEST_SHOWN].encode("utf-8", "backslashreplace").decode()
        raise InvalidEvent(name, "is given twice")
    for name in required:
        if name not in document:
            raise InvalidEvent(name, "is missing")
    for name in document:
        if name not in required and name not in optional:
            raise InvalidEvent(None, f"has an unknown field {name[:_LONGEST_SHOWN]!r}")
    return document


def json_name(value: object) -> str:
    """What JSON calls the type of a value."""
    return _JSON_NAMES.get(type(value), "an object")


def parse_message(value: bytes) -> Event:
    """
    The event that a message of Kafka holds: a JSON object in UTF-8.

    Raises:
        InvalidEvent: It is no JSON, or `parse_object` finds no event in it.
    """
    try:
        document = parse_json(value)
    except InvalidInput as exc:
        raise InvalidEvent(None, str(exc)) from exc
    return parse_object(document)


def parse_object(document: object) -> Event:
    """
    The event that a JSON object names.

    Raises:
        InvalidEvent: It is no object, or a field is missing, unknown, there twice, not a string,
            or wrong in itself.
    """
    fields = parse_fields(document, COLUMNS)
    texts = []
    for name in COLUMNS:
        value = fields[name]
        if not isinstance(value, str):
            raise InvalidEvent(name, f"is {json_name(value)}, not a string")
        texts.append(value)
    return parse_event(*texts)


def check_void_reason(text: object) -> str:
    """`text` if it can be the reason of a correction; raises `InvalidEvent`."""
    if not isinstance(text, str):
        raise InvalidEvent("reason", f"is {json_name(text)}, not a string")
    _check_id("reason", text)
    if len(text) > MAX_REASON_CHARACTERS:
        raise InvalidEvent(
            "reason", f"has {len(text):,} characters, more than {MAX_REASON_CHARACTERS}"
        )
    return text
