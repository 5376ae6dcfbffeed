"""Timestamps as databases and languages print them, where they can be read in one way only."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo
from typing import NoReturn

from events.domain.zones import LocalTimes, in_utc, offsets_by_abbreviation, zone_named
from events.errors import InvalidEvent, InvalidInput

#: What JavaScript prints before AM and PM.
NARROW_SPACE = "\u202f"
LIKE = "write it like 2021-03-01T00:10:05.657Z"
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_OFFSET = r"[+-][0-9]{2}(?::?[0-5][0-9])?"
#: The id of a zone of Java that is an offset.
_FIXED_ZONE = re.compile(rf"(?:UTC|GMT)({_OFFSET})")
#: PostgreSQL ends years before Christ with BC.
_ABBREVIATION = r"(?!(?:AM|PM|BC|AD)\b)[A-Z]{2,5}"
#: The zone's name in words, in any language: JavaScript, mail.
_COMMENT = r"(?: \([^()]+\))?"
COMMENT = re.compile(rf"(?<=[+-][0-9]{{4}}){_COMMENT}$")
#: An offset may be followed by the zone's abbreviation (Go) or its name in brackets (Java).
_ZONE = (
    r"(?: ?(?P<utc>Z|z|(?:UTC|GMT)(?:[+-]0?0(?::?00)?)?)(?:\[(?P<utc_name>[A-Za-z0-9_+/-]+)\])?"
    rf"| ?(?P<offset>{_OFFSET})(?: (?P<abbreviation>{_ABBREVIATION}|{_OFFSET}))?{_COMMENT}"
    r"(?:\[(?P<offset_name>[A-Za-z0-9_+/:-]+)\])?"
    r"| (?P<zone>[A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+)|\[(?P<in_brackets>[A-Za-z0-9_+/-]+)\]"
    rf"| (?P<local>{_ABBREVIATION}))?"
)
#: The same after a weekday, a month and a day, as JavaScript prints: "GMT+0100 (Central …)".
_JS_ZONE = rf" GMT(?P<offset>[+-][0-9]{{4}}){_COMMENT}"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
#: A time as people write it: without seconds, with a comma, or with AM and PM.
_FREE_TIME = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r"(?: ?(?P<half>[AaPp]\.?[Mm]\.?))?"
)
_WEEKDAY = r"(?P<weekday>(?i:Mon|Tue|Wed|Thu|Fri|Sat|Sun))[A-Za-z]{0,6}"
_MONTH, _YEAR, _DAY = r"(?P<month>[A-Za-z]{3,9})", r"(?P<year>[0-9]{4})", r"(?P<day>[0-9]{1,2})"


def _patterns(time: str) -> list[re.Pattern[str]]:
    return [
        re.compile(pattern)
        for pattern in (
            # ISO 8601 and its relatives; Go adds a monotonic clock reading.
            rf"{_YEAR}-(?P<month>[0-9]{{2}})-(?P<day>[0-9]{{2}})[Tt ]{time}{_ZONE}"
            r"(?: m=[+-][0-9.]+)?",
            # RFC 2822 and HTTP, Oracle, access logs.
            rf"(?:{_WEEKDAY},? )?{_DAY}(?P<dash>[ /-]){_MONTH}(?P=dash){_YEAR}(?::|,? ){time}"
            rf"{_ZONE}",
            # `date` and Java put the zone before the year, PostgreSQL after it.
            rf"{_WEEKDAY} {_MONTH}  ?{_DAY} {time}{_ZONE} {_YEAR}",
            rf"{_WEEKDAY} {_MONTH}  ?{_DAY} {time} {_YEAR}{_ZONE}",
            rf"{_WEEKDAY}  ?{_DAY} {_MONTH} {time}{_ZONE} {_YEAR}",
            rf"{_WEEKDAY}  ?{_DAY} {_MONTH} {time} {_YEAR}{_ZONE}",
            rf"{_WEEKDAY} {_MONTH} {_DAY} {_YEAR} {time}{_JS_ZONE}",
            rf"(?:{_WEEKDAY},? )?{_MONTH}  ?{_DAY},? {_YEAR},? {time}{_ZONE}",
        )
    ]


_PRINTS = _patterns(_TIME)
_FREE_PRINTS = [
    *_patterns(_FREE_TIME),
    re.compile(
        rf"{_YEAR}(?P<dash>[/.-])(?P<month>[0-9]{{1,2}})(?P=dash)(?P<day>[0-9]{{1,2}})(?:[Tt]|,? )"
        rf"{_FREE_TIME}{_ZONE}"
    ),
    re.compile(
        rf"{_YEAR}(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})[Tt](?P<hour>[0-9]{{2}})"
        rf"(?P<minute>[0-9]{{2}})(?P<second>[0-9]{{2}})(?:\.(?P<fraction>[0-9]+))?{_ZONE}"
    ),
]
#: Day and month as numbers before the year, in either order.
TWO_WAY_DATE = re.compile(
    rf"(?P<one>[0-9]{{1,2}})(?P<dash>[./-])(?P<other>[0-9]{{1,2}})(?P=dash){_YEAR},?"
    rf"(?:[T ]{_FREE_TIME}{_ZONE})?"
)
_TWO_WAY_OFFSET = re.compile(r"(?:GMT|UTC|Z) ?([+-]) ?[0-9]")
_TWO_DIGIT_YEAR = re.compile(
    r"(?:[A-Z][a-z]+, )?[0-9]{1,2}([ ./-])(?:[0-9]{1,2}|[A-Za-z]{3})\1[0-9]{2}[ ,]"
)


def parse_print(text: str, local: LocalTimes, *, is_free: bool = False) -> datetime | None:
    """
    The instant that a text prints, in UTC; None if the text is in no known form.

    Args:
        text: Printable ASCII.
        is_free: Also accept times without seconds, with AM or PM, or with a comma before the
            fraction, years first with `/`, and ISO 8601's basic format.

    Raises:
        InvalidEvent: The form is known, but the text has no single meaning.
    """
    for pattern in _FREE_PRINTS if is_free else _PRINTS:
        match = pattern.fullmatch(text)
        if match is not None:
            return instant_of(match, local)
    return None


def instant_of(match: re.Match[str], local: LocalTimes, **parts: str) -> datetime:
    """The instant of a match, in UTC; `parts` replace its groups. Raises `InvalidEvent`."""
    groups = {**match.groupdict(""), **parts}
    text = match.string
    at = _local_time(text, groups)
    weekday = groups.get("weekday", "").lower()
    if weekday and weekday != _WEEKDAYS[at.weekday()]:
        _refuse(
            text, f"was not a {match['weekday']}: the weekday and the date contradict each other"
        )
    return _with_zone(at, text, groups, local)


def _local_time(text: str, groups: dict[str, str]) -> datetime:
    month = groups["month"]
    if not month.isdigit():
        names = [name for name in _MONTHS if month.lower() in (name, name[:3])]
        names += ["september"] * (month.lower() == "sept")
        if not names:
            _refuse(text, f"has the unknown month {month!r}")
        month = str(_MONTHS.index(names[0]) + 1)
    hour, half = int(groups["hour"]), groups.get("half", "").lower()
    if half:
        if not 1 <= hour <= 12:
            _refuse(text, f"has the hour {hour} with {groups['half']}: it must be in 1..12")
        hour = hour % 12 + 12 * half.startswith("p")
    fraction = groups["fraction"][:6].ljust(6, "0")
    second = groups["second"] or "0"
    if int(groups["year"]) == 0:
        raise InvalidEvent("timestamp", "is outside the years 0001 to 9999")
    if second == "60":
        _refuse(text, "is a leap second, which UTC datetimes cannot hold: send second 59")
    numbers = (groups["year"], month, groups["day"], hour, groups["minute"], second, fraction)
    try:
        return datetime(*map(int, numbers))  # type: ignore[arg-type] # noqa: DTZ001 - has its zone later
    except ValueError as exc:
        raise InvalidEvent("timestamp", f"{text!r} is not a valid date and time: {exc}") from exc


def _with_zone(at: datetime, text: str, groups: dict[str, str], local: LocalTimes) -> datetime:
    offset, abbreviation = groups.get("offset", ""), groups.get("abbreviation", "")
    if groups.get("utc"):
        offset = "+00"
    if offset:
        try:
            instant = in_utc(datetime.fromisoformat(f"{at.isoformat()}{offset}"), local)
        except ValueError as exc:
            raise InvalidEvent("timestamp", f"{text!r} has an offset of 24 hours or more") from exc
        name = groups.get("utc_name") or groups.get("offset_name") or ""
        if fixed := _FIXED_ZONE.fullmatch(name):
            name, abbreviation = "", fixed[1]
        shown = instant.astimezone(_zone(text, name)).replace(tzinfo=None) if name else at
        if shown != at or not _agrees(offset, abbreviation):
            _refuse(
                text, f"has the offset {offset}, which {name or abbreviation} did not have then"
            )
        return instant
    name = groups.get("zone") or groups.get("in_brackets", "")
    if name:
        return in_utc(at, LocalTimes(_zone(text, name), local.ambiguous_hour))
    abbreviation = groups.get("local", "")
    if not abbreviation:
        return in_utc(at, local)
    # CST is a time in America, in China and in Cuba. The assumed zone may know it.
    for fold in (0, 1):
        aware = at.replace(tzinfo=local.zone, fold=fold)
        if abbreviation == aware.tzname():
            return in_utc(aware, local)
    return _refuse(
        text,
        f"has the time zone abbreviation {abbreviation!r}, which several zones use: "
        "write the offset, such as +01:00",
    )


def _agrees(offset: str, abbreviation: str) -> bool:
    """Whether what follows an offset may be a name of it."""
    offset, other = (text.replace(":", "").ljust(5, "0") for text in (offset, abbreviation))
    if abbreviation in ("", "UTC", "GMT"):  # the usual ones, without all zones
        return not abbreviation or int(offset) == 0
    if abbreviation[0] in "+-":
        return offset == other
    minutes = int(offset[:3]) * 60 + int(offset[0] + offset[3:])
    known = offsets_by_abbreviation().get(abbreviation)
    return known is None or timedelta(minutes=minutes) in known


def _zone(text: str, name: str) -> tzinfo:
    try:
        return zone_named(name)
    except InvalidInput as exc:
        raise InvalidEvent("timestamp", f"{text!r} has the unknown time zone {name!r}") from exc


def why_two_ways(text: str) -> InvalidEvent | None:
    """Why a text can be read in several ways, and what decides; None if it cannot be read."""
    match = TWO_WAY_DATE.fullmatch(text)
    if match:
        one, other = int(match["one"]), int(match["other"])
        readings = [
            f"{day} {_MONTHS[month - 1].capitalize()} {match['year']} ({name} first)"
            for day, month, name in ((one, other, "day"), (other, one, "month"))
            if 1 <= month <= 12
        ]
        if len(readings) == 2 and one != other:
            return InvalidEvent(
                "timestamp",
                f"{text!r} is {' or '.join(readings)}; {LIKE}",
                f"choose with --timestamp-format '{pattern_of(match, 'day')}' or "
                f"'{pattern_of(match, 'month')}'",
            )
        order = "day" if 1 <= other <= 12 else "month"
        return InvalidEvent(
            "timestamp",
            f"{text!r} has day and month as numbers; {LIKE}",
            f"name their order with --timestamp-format '{pattern_of(match, order)}'",
        )
    match = _TWO_WAY_OFFSET.search(text)
    if match:
        return InvalidEvent(
            "timestamp",
            f"{text!r} has an offset after GMT or UTC, which may mean ahead of UTC or, as in "
            "POSIX, behind it: remove GMT or UTC",
        )
    if _TWO_DIGIT_YEAR.match(text):
        return InvalidEvent(
            "timestamp",
            f"{text!r} has a year of two digits; {LIKE}",
            "name the pattern with --timestamp-format",
        )
    return None


def pattern_of(match: re.Match[str], order: str) -> str:
    """The strptime pattern of a `TWO_WAY_DATE` whose day, or month, is first."""
    directives = {"one": "%d", "other": "%m", "year": "%Y", "hour": "%H", "minute": "%M"}
    directives |= {"second": "%S", "fraction": "%f", "half": "%p", "offset": "%z"}
    if order == "month":
        directives |= {"one": "%m", "other": "%d"}
    if match["half"]:
        directives["hour"] = "%I"
    if match["utc"] in ("Z", "z"):
        directives["utc"] = "%z"
    pattern, end = "", 0
    for name, directive in directives.items():
        if match[name]:
            pattern += match.string[end : match.start(name)] + directive
            end = match.end(name)
    return pattern + match.string[end:]


def _refuse(text: str, why: str) -> NoReturn:
    raise InvalidEvent("timestamp", f"{text!r} {why}")
