"""Make events of texts: the rules of their fields."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from events.domain.timestamps import parse_timestamp
from events.errors import InvalidEvent
from events.models import MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES, Event

COLUMNS = ("customer_id", "event_type", "transaction_id", "timestamp")

#: The stored key is `<27 characters>-<event type, % and - escaped>-<transaction id>`.
_KEY_OVERHEAD_BYTES = 29
MAX_REASON_CHARACTERS = 500
#: Control characters (Unicode category Cc), and surrogates, which UTF-8 cannot encode.
_NOT_IN_IDS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: Format characters (Unicode category Cf) and noncharacters. The two joiners are allowed between
#: characters of scripts and emoji.
_FORMAT = (
    r"\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f"
    r"\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
    r"\U000e0020-\U000e007f"
)
_NONCHARACTERS = r"\ufdd0-\ufdef" + "".join(
    rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(17)
)
_JOINER, _SCRIPT = r"[\u200c\u200d]", r"[^\x00-\x7f\u200c\u200d]"
_INVISIBLE = re.compile(
    rf"[{_FORMAT}{_NONCHARACTERS}]|(?<!{_SCRIPT}){_JOINER}|{_JOINER}(?!{_SCRIPT})"
)


def parse_event(
    customer_id: str,
    event_type: str,
    transaction_id: str,
    timestamp: str,
    parse_time: Callable[[str], datetime] = parse_timestamp,
    *,
    is_stored: bool = False,
) -> Event:
    """
    Make an event of four texts. Files, HTTP and Kafka all use this function.

    Ids must be non-empty, without control characters and without white space at either end; they
    are kept byte for byte. Their length is limited by `MAX_PARTITION_KEY_BYTES` and
    `MAX_SORT_KEY_BYTES`. `parse_time` reads the timestamp. Invisible characters are allowed only
    if `is_stored`: events that were stored before this rule can still be named.

    Raises:
        InvalidEvent: Names the first invalid field and the reason.
    """
    if is_stored:
        customer_id = check_customer_id(customer_id)
        event_type, room = _checked_event_type(event_type)
    else:
        customer_id = _new_customer_id(customer_id)
        event_type, room = _new_event_type(event_type)
    if not (
        transaction_id.isascii()
        and transaction_id.isprintable()
        and 0 < len(transaction_id) <= room
        and transaction_id[0] != " " != transaction_id[-1]
    ):
        _check_id("transaction_id", transaction_id)
        if not is_stored:
            _check_visible("transaction_id", transaction_id)
        size = len(transaction_id.encode())
        if size > room:
            raise InvalidEvent(
                "transaction_id",
                f"has {size:,} bytes of UTF-8, but only {room:,} are left in the "
                f"{MAX_SORT_KEY_BYTES:,}-byte key beside this event_type",
            )
    return Event(customer_id, event_type, transaction_id, parse_time(timestamp))


# The same customers and types occur many times: each is checked once, and all its events share
# one string. The caches take at most 24 MB, with ids of the maximum length.
@lru_cache(maxsize=8_192)
def _new_customer_id(text: str) -> str:
    _check_visible("customer_id", check_customer_id(text))
    return text


@lru_cache(maxsize=8_192)
def _new_event_type(text: str) -> tuple[str, int]:
    """The event type, and the bytes that it leaves for a transaction id."""
    checked = _checked_event_type(text)
    _check_visible("event_type", text)
    return checked


def _check_visible(field: str, text: str) -> None:
    invisible = _INVISIBLE.search(text)
    if invisible is not None:
        name = unicodedata.name(invisible[0], "a noncharacter")
        raise InvalidEvent(
            field,
            f"has the invisible character U+{ord(invisible[0]):04X} ({name}) at position "
            f"{invisible.start() + 1}: remove it",
        )


def check_customer_id(text: str) -> str:
    """Return `text` if it is a valid customer id; raises `InvalidEvent`."""
    _check_id("customer_id", text)
    size = len(text.encode())
    if size > MAX_PARTITION_KEY_BYTES:
        raise InvalidEvent(
            "customer_id", f"has {size:,} bytes of UTF-8, more than {MAX_PARTITION_KEY_BYTES:,}"
        )
    return text


def _checked_event_type(text: str) -> tuple[str, int]:
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
    invalid = _NOT_IN_IDS.search(text)
    if invalid is not None:
        reason = f"has the control character U+{ord(invalid[0]):04X}"
        if invalid[0] >= "\ud800":
            reason = "is not valid UTF-8"
        raise InvalidEvent(field, f"{reason} at position {invalid.start() + 1}")
    if text[0].isspace() or text[-1].isspace():
        raise InvalidEvent(field, "has white space at its start or end")


def check_event_type(text: str) -> str:
    """Return `text` if it is a valid event type; raises `InvalidEvent`."""
    return _checked_event_type(text)[0]


def check_void_reason(text: str) -> str:
    """Return `text` if it is a valid reason for a correction; raises `InvalidEvent`."""
    _check_id("reason", text)
    if len(text) > MAX_REASON_CHARACTERS:
        raise InvalidEvent(
            "reason", f"has {len(text):,} characters, more than {MAX_REASON_CHARACTERS}"
        )
    return text
