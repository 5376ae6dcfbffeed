"""Parse and format timestamps."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime

from events.domain.epochs import UNITS, unit_of
from events.domain.timeprints import COMMENT, LIKE, NARROW_SPACE, parse_print, why_two_ways
from events.domain.zones import NO_ZONE, LocalTimes, in_utc
from events.errors import InvalidEvent, InvalidWindow

#: RFC 3339, section 5.6, with one space for the "T" and the short offsets of PostgreSQL.
#: `datetime.fromisoformat` alone lets NUL and odd separators through, and hour 24 from 3.13 on.
_STRICT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?!24)[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(Z|[+-][0-9]{2}(?::?[0-5][0-9])?)?"
)
#: The same with a space before the offset, the names of UTC, or in lower case.
_NEARLY_STRICT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]((?!24)[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,100})?)"
    r" ?(?:z|Z|UTC|GMT|([+-][0-9]{2}(?::?[0-5][0-9])?))"
)
#: The start or end of a range: a date, or a date with at least hours and minutes.
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ](?!24)[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
    r"(?:Z|[+-][0-9]{2}(?::?[0-5][0-9])?)?)?"
)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
#: Days since 1900, in the years 1954 to 2064.
_SPREADSHEET_DAYS = re.compile(r"[2-5][0-9]{4}(?:\.[0-9]+)?")
_DATE_IN_DIGITS = re.compile(r"(?:19|20)(?:[0-9]{2}){3,6}")
_DIGITS_OF_A_DATE = 6
_HOUR_24 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]24:")
_SPACE_FOR_PLUS = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+ [0-9]{2}(?::?[0-9]{2})?")
#: Longer texts are rejected.
_MAX_LENGTH = 128


def parse_timestamp(text: str, local: LocalTimes = NO_ZONE) -> datetime:
    """
    Parse an event's timestamp.

    Digits beyond microseconds are cut off, as `datetime.fromisoformat` does.

    Args:
        text: RFC 3339 with date, time with seconds, and an offset (`Z`, `+00`, `+00:00`,
            `+0000`), with `T` or one space between date and time; or another form that databases
            and languages print (`parse_print`).
        local: How to read a timestamp without an offset.

    Returns:
        An aware datetime in UTC.

    Raises:
        InvalidEvent: The text is not a valid timestamp; the reason names the broken rule.
    """
    match = _STRICT.fullmatch(text)
    if match is None:
        return _parse_other(text, local)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InvalidEvent("timestamp", _why_no_date(text, exc)) from exc
    if at.tzinfo is UTC:
        return at
    return in_utc(at, local)


def _parse_other(text: str, local: LocalTimes) -> datetime:
    nearly = _NEARLY_STRICT.fullmatch(text)
    if nearly is not None:  # many times faster than `parse_print`
        with suppress(ValueError):  # `parse_print` gives the reason
            at = datetime.fromisoformat(f"{nearly[1]}T{nearly[2]}{nearly[3] or 'Z'}")
            return in_utc(at, local)
    reason = why_unreadable(text)
    printed = None if reason else parse_print(text, local)
    if printed is None:
        if NARROW_SPACE in text:
            raise _why_not_strict(text.replace(NARROW_SPACE, " "))
        raise InvalidEvent("timestamp", reason) if reason else _why_not_strict(text)
    return printed


def why_unreadable(text: str) -> str | None:
    """Why no format can read a text; None if one might."""
    if not text:
        return "is empty"
    if len(text) > _MAX_LENGTH:
        return f"has {len(text):,} characters; {LIKE}"
    if not COMMENT.sub("", text).isascii() or not text.isprintable():
        return f"{text!a} has invalid characters; {LIKE}"
    return None


def _why_not_strict(text: str) -> InvalidEvent:
    problem, option = "is not a date and time", ""
    unit = unit_of(text)
    if _HOUR_24.match(text):
        problem = "is not a valid date and time: hour must be in 0..23"
    elif re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        problem, option = "has no time of day", "mean midnight with --timestamp-format %Y-%m-%d"
    elif _SPACE_FOR_PLUS.fullmatch(text):
        problem = "has a space where the sign of the offset should be"
    elif _SPREADSHEET_DAYS.fullmatch(text):
        problem = "is a number, perhaps days as spreadsheets count them: export the cell as a date"
    elif unit:
        problem = f"is a number, perhaps {UNITS[unit].name} since 1970"
        option = f"read the file with --timestamp-format {unit}"
    elif _NUMBER.fullmatch(text):
        problem, option = "is a number", "name its unit with --timestamp-format, such as epoch-s"
        if _DATE_IN_DIGITS.fullmatch(text):
            option = "name its pattern with --timestamp-format, such as %Y%m%d%H%M%S"
    elif why := why_two_ways(text):
        return why
    elif _is_free(text):
        option = "name its format with --timestamp-format: a pattern, or auto for a whole file"
    elif sum(map(str.isdigit, text)) >= _DIGITS_OF_A_DATE:
        option = "name its pattern with --timestamp-format"
    return InvalidEvent("timestamp", f"{text!r} {problem}; {LIKE}", option)


def _is_free(text: str) -> bool:
    try:
        return parse_print(text, LocalTimes(UTC), is_free=True) is not None
    except InvalidEvent:
        return False


def _why_no_date(text: str, exc: ValueError) -> str:
    shown = text[:_MAX_LENGTH]
    if text.startswith("0000"):
        return "is outside the years 0001 to 9999"
    if text[16:19] == ":60":
        return f"{shown!r} is a leap second, which UTC datetimes cannot hold: send second 59"
    if re.search(r"[+-](?:2[4-9]|[3-9][0-9])(?::?[0-9]{2})?$", text[16:]):
        return f"{shown!r} has an offset of 24 hours or more"
    return f"{shown!r} is not a valid date and time: {exc}"


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
