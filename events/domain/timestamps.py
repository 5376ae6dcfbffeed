"""Parse and format timestamps."""

from __future__ import annotations

import decimal
import re
from datetime import UTC, datetime, tzinfo
from functools import cache
from importlib.resources import files
from typing import NoReturn
from zoneinfo import ZoneInfo

from events.errors import InvalidEvent, InvalidInput, InvalidWindow

#: RFC 3339, section 5.6, with one space for the "T" and the short offsets of PostgreSQL.
#: `datetime.fromisoformat` alone lets NUL and odd separators through, and hour 24 from 3.13 on.
_STRICT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?!24)[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(Z|[+-][0-9]{2}(?::?[0-5][0-9])?)?"
)
#: The start or end of a range: a date, or a date with at least hours and minutes.
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ](?!24)[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
    r"(?:Z|[+-][0-9]{2}(?::?[0-5][0-9])?)?)?"
)
_HOUR_24 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]24:")
_SPACE_FOR_PLUS = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+ [0-9]{2}(?::?[0-9]{2})?")
#: dateutil reads `GMT+3` as POSIX does, three hours behind UTC; most people mean ahead.
_TWO_WAY_OFFSET = re.compile(r"(?:GMT|UTC|Z) ?[+-] ?[0-9]", re.IGNORECASE)
_EXAMPLE = "2021-03-01T00:10:05.657Z"
#: Longer texts are rejected; without this limit a lenient parser would read megabytes.
_MAX_LENGTH = 128


def parse_timestamp(
    text: str, *, assume_zone: tzinfo | None = None, is_lenient: bool = False
) -> datetime:
    """
    Parse an event's timestamp.

    Digits beyond microseconds are cut off, as `datetime.fromisoformat` does.

    Args:
        text: RFC 3339 with date, time with seconds, and an offset (`Z`, `+00`, `+00:00`,
            `+0000`), with `T` or one space between date and time.
        assume_zone: The zone of timestamps without an offset; None rejects them. Of a local time
            that occurs twice (clocks go back) the first is taken; a local time that does not
            exist (clocks go forward) is rejected.
        is_lenient: Also accept what dateutil's free-form parser accepts, if the text contains the
            whole date.

    Returns:
        An aware datetime in UTC.

    Raises:
        InvalidEvent: The text is not a valid timestamp; the reason names the broken rule.
    """
    match = _STRICT.fullmatch(text)
    if match is None:
        if is_lenient:
            return _in_utc(_parse_freely(text), assume_zone)
        raise InvalidEvent("timestamp", _why_not_strict(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InvalidEvent("timestamp", _why_no_date(text, exc)) from exc
    if at.tzinfo is UTC:
        return at
    return _in_utc(at, assume_zone)


def _in_utc(at: datetime, assume_zone: tzinfo | None) -> datetime:
    """Convert to UTC, in `assume_zone` if `at` has no offset."""
    try:
        if at.tzinfo is not None:
            return at.astimezone(UTC)
        if assume_zone is None:
            raise InvalidEvent(
                "timestamp", "has no offset: add Z or +00:00, or name the zone to assume"
            )
        instant = at.replace(tzinfo=assume_zone).astimezone(UTC)
        if instant.astimezone(assume_zone).replace(tzinfo=None) != at.replace(fold=0):
            raise InvalidEvent(
                "timestamp", f"{at} does not exist in {assume_zone}: the clocks were set forward"
            )
    except OverflowError as exc:
        raise InvalidEvent("timestamp", "is outside the years 0001 to 9999 in UTC") from exc
    except ValueError as exc:  # an offset that the lenient parser accepted
        raise InvalidEvent("timestamp", "has an offset of 24 hours or more") from exc
    return instant


def _why_not_strict(text: str) -> str:
    if not text:
        return "is empty"
    if len(text) > _MAX_LENGTH:
        return f"has {len(text):,} characters; write it like {_EXAMPLE}"
    shown = ascii(text)
    if not text.isascii() or not text.isprintable():
        return f"{shown} has invalid characters; write it like {_EXAMPLE}"
    if _HOUR_24.match(text):
        return f"{shown} is not a valid date and time: hour must be in 0..23"
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return f"{shown} has no time of day; write it like {_EXAMPLE}"
    if _SPACE_FOR_PLUS.fullmatch(text):
        return f"{shown} has a space where the sign of the offset should be; write + as it is"
    return f"{shown} is not a date and time; write it like {_EXAMPLE}"


def _why_no_date(text: str, exc: ValueError) -> str:
    shown = text[:_MAX_LENGTH]
    if text.startswith("0000"):
        return "is outside the years 0001 to 9999"
    if text[16:19] == ":60":
        return f"{shown!r} is a leap second, which UTC datetimes cannot hold: send second 59"
    if re.search(r"[+-](?:2[4-9]|[3-9][0-9])(?::?[0-9]{2})?$", text[16:]):
        return f"{shown!r} has an offset of 24 hours or more"
    return f"{shown!r} is not a valid date and time: {exc}"


def _parse_freely(text: str) -> datetime:
    """Parse with dateutil; reject texts whose missing parts it would take from today's date."""
    from dateutil import parser, tz  # slow to import and rarely needed

    def refuse(why: str) -> NoReturn:
        raise InvalidEvent("timestamp", f"{text!r} {why}")

    def zone(name: str | None, offset: int | None) -> tzinfo | None:
        if offset is None and name is not None:
            refuse(f"has the unknown time zone {name!r}: write its offset, such as +01:00")
        return None if offset is None else tz.tzoffset(name, offset)

    class WholeYears(parser.parserinfo):
        def convertyear(self, year: int, century_specified: bool = False) -> int:
            if not century_specified:
                refuse("has a year of two digits: write all four")
            return year

    if len(text) > _MAX_LENGTH or not text.isprintable():
        raise InvalidEvent("timestamp", _why_not_strict(text))
    if _TWO_WAY_OFFSET.search(text):
        refuse("has an offset after GMT or UTC, whose sign is ambiguous: remove GMT or UTC")
    # Two defaults that differ in year, month, day and weekday: if dateutil fills in a part of the
    # date, the results differ.
    defaults = (datetime(2000, 1, 1), datetime(1996, 2, 20))  # noqa: DTZ001 - the text names the zone
    info = WholeYears()
    try:
        first, second = (
            parser.parse(text, parserinfo=info, default=default, tzinfos=zone)
            for default in defaults
        )
    except (ValueError, OverflowError, TypeError, decimal.InvalidOperation) as exc:
        # Only a ValueError describes the text.
        detail = f": {exc}" if isinstance(exc, ValueError) else ""
        raise InvalidEvent("timestamp", f"{text!r} is not a date and time{detail}") from exc
    if first != second:
        refuse("does not contain a whole date")
    return first


def utc_now() -> datetime:
    return datetime.now(UTC)


def format_timestamp(at: datetime) -> str:
    """`at` in UTC as 27 characters, `2021-03-01T00:10:05.657000Z`; sorts in order of time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def day_of(at: datetime) -> str:
    """The UTC day of `at` as `YYYY-MM-DD`."""
    return at.astimezone(UTC).isoformat()[:10]


def convert_to_iso_8601_utc(text: str) -> str:
    """Turn `2021-03-01 00:10:05.657+00` into `2021-03-01T00:10:05.657000Z`."""
    return format_timestamp(parse_timestamp(text))


def parse_instant(text: str, parameter: str) -> datetime:
    """
    Parse the start or end of a range: an ISO 8601 date, or date and time, with any offset.

    Without an offset it is in UTC; a date alone means its midnight. An `InvalidWindow` names
    `parameter`.
    """
    if not _INSTANT.fullmatch(text):
        raise InvalidWindow(_why_no_instant(text), parameter)
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except ValueError as exc:
        raise InvalidWindow(_why_no_date(text, exc), parameter) from exc
    except OverflowError as exc:
        raise InvalidWindow("is outside the years 0001 to 9999 in UTC", parameter) from exc


def _why_no_instant(text: str) -> str:
    if len(text) > _MAX_LENGTH:
        return f"has {len(text):,} characters; write it like 2021-03-01T00:00:00Z"
    if _SPACE_FOR_PLUS.fullmatch(text):
        return (
            f"{text!r} has a space where the + of the offset should be: "
            "in a URL write + as %2B, or use Z"
        )
    if not text:
        return "is empty"
    if _HOUR_24.match(text):
        return f"{text!a} is not a valid date and time: hour must be in 0..23"
    return f"{text!a} is not an ISO 8601 date and time like 2021-03-01T00:00:00Z"


@cache
def _iana_names() -> frozenset[str]:
    # A machine's own files have more: `right/…` counts leap seconds, `localtime` is not portable.
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


def zone_named(name: str) -> tzinfo:
    """The IANA time zone `name`; raises `InvalidInput` if there is none."""
    if name not in _iana_names():
        raise InvalidInput(
            f"unknown time zone {name!r}: use an IANA name such as Europe/Berlin or UTC"
        )
    return ZoneInfo(name)
