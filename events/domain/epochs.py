"""Timestamps as a number of seconds, or smaller units, since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from events.errors import InvalidEvent

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unit(NamedTuple):
    name: str
    #: How many there are in a second, as a power of ten.
    digits: int


UNITS = {
    "epoch-s": Unit("seconds", 0),
    "epoch-ms": Unit("milliseconds", 3),
    "epoch-us": Unit("microseconds", 6),
    "epoch-ns": Unit("nanoseconds", 9),
}
_NUMBER = re.compile(r"(-?)([0-9]{1,40})(?:\.([0-9]{1,40}))?")
#: As spreadsheets shorten long numbers.
_SCIENTIFIC = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?[eE][+-]?[0-9]{1,4}")
#: The years 2000 to 2100, in seconds. Of any number, at most one unit falls into these years.
#: Earlier years would include today's numbers of .NET (since the year 1) and Apple (since 2001).
_LIKELY_SECONDS = range(946_684_800, 4_102_444_800)


def parse_epoch(text: str, unit: str) -> datetime:
    """The instant of a number of `unit`, cut to microseconds; raises `InvalidEvent`."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        if not text:
            raise InvalidEvent("timestamp", "is empty")
        if _SCIENTIFIC.fullmatch(text):
            raise InvalidEvent(
                "timestamp", f"{text!r} may have lost its last digits: write it without an exponent"
            )
        raise InvalidEvent(
            "timestamp",
            f"{text[:128]!a} is not a number of {UNITS[unit].name} since 1970, such as 1614557405"
            + "0" * UNITS[unit].digits,
        )
    sign, whole, fraction = match.groups()
    # Decimal digits of the number of microseconds, and one more that says how to cut.
    places = 6 - UNITS[unit].digits
    digits = whole + (fraction or "").ljust(max(places, 0) + 1, "0")
    point = len(whole) + places
    micros, rest = int(digits[: max(point, 0)] or "0"), digits[max(point, 0) :]
    if sign:
        micros = -micros - (rest.strip("0") != "")
    try:
        return from_micros(micros)
    except InvalidEvent as exc:
        likely = unit_of(text)
        if likely is None:
            raise
        raise InvalidEvent(
            "timestamp",
            f"{text!r} {exc.reason}",
            f"read the file with --timestamp-format {likely}: these may be {UNITS[likely].name}",
        ) from exc


def from_micros(micros: int) -> datetime:
    """The instant of a number of microseconds since 1970; raises `InvalidEvent`."""
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError as exc:
        raise InvalidEvent("timestamp", "is outside the years 0001 to 9999 in UTC") from exc


def unit_of(text: str) -> str | None:
    """The unit in which a number is an instant of the years 2000 to 2100; None if none is."""
    if _NUMBER.fullmatch(text):
        whole = int(text.partition(".")[0])
        for name, unit in UNITS.items():
            if whole // 10**unit.digits in _LIKELY_SECONDS:
                return name
    return None
