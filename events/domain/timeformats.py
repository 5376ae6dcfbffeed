"""Formats of timestamps in files: ISO 8601, numbers since 1970, patterns, or found by survey."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial

from events.domain.epochs import EPOCH, UNITS, parse_epoch, unit_of
from events.domain.timeprints import (
    NARROW_SPACE,
    TWO_WAY_DATE,
    instant_of,
    parse_print,
    pattern_of,
    why_two_ways,
)
from events.domain.timestamps import parse_timestamp, why_unreadable
from events.domain.zones import NO_ZONE, LocalTimes, in_utc
from events.errors import InvalidEvent, InvalidInput

TimestampParser = Callable[[str], datetime]

AUTO = "auto"
#: Directives that depend on the machine, or that strptime reads without an effect.
_INSTEAD = {
    "Z": "%z, or the zone's text and --assume-timezone",
    "c": "single directives",
    "x": "%Y-%m-%d",
    "X": "%H:%M:%S",
}
_DIRECTIVE = re.compile(r"%(.)")
#: The digits of numbers, by directive; two or more that touch.
_WIDTHS = {**dict.fromkeys("dHImMSy", "2"), "j": "3", "Y": "4", "f": "1,6"}
_TOUCHING = re.compile("((?:%[dHImMSyjYf]){2,})")
_WEEKDAY = re.compile("%[aA]")
_DIGITS_OF_A_TIME = 6
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
#: Digits beyond microseconds.
_NANOSECONDS = re.compile(r"(?<=[.,][0-9]{6})[0-9]{1,3}(?![0-9])")
#: The text of UTC at the end of a pattern, where %z would read it too.
_IN_UTC = re.compile(r"(?:(?<=%[A-Za-z])|(?<![A-Za-z%]))(?:Z|UTC|GMT)$")
_LITERAL_OFFSET = re.compile(r"[+-][0-9]{2}(?::?[0-9]{2})?$")


def timestamp_parser(name: str, local: LocalTimes) -> TimestampParser:
    """
    What reads timestamps in a format; it raises `InvalidEvent`.

    Args:
        name: `iso`, `epoch-s`, `epoch-ms`, `epoch-us`, `epoch-ns`, or a strptime pattern.
        local: How to read timestamps without an offset.

    Raises:
        InvalidInput: The format is unknown, or a pattern leaves a part of the instant open.
    """
    if name == "iso":
        return parse_timestamp if local == NO_ZONE else partial(parse_timestamp, local=local)
    if name in UNITS:
        return partial(parse_epoch, unit=name)
    if "%" not in name:
        raise InvalidInput(
            f"{name!r} is unknown: use iso, {', '.join(UNITS)}, auto, or a "
            "strptime pattern such as '%d.%m.%Y %H:%M'"
        )
    problem = _why_incomplete(set(_DIRECTIVE.findall(name.replace("%%", ""))))
    if _LITERAL_OFFSET.search(name):
        problem = "ends with an offset: write %z for it"
    if problem:
        raise InvalidInput(f"{name!r} {problem}")
    try:  # strptime compiles a pattern at its first use
        datetime.strptime("", name)  # noqa: DTZ007 - fails
    except (ValueError, re.error) as exc:  # the latter for a directive that occurs twice
        if "does not match" not in str(exc):
            raise InvalidInput(f"{name!r}: {exc}") from exc
    if _IN_UTC.search(name):
        local = LocalTimes(UTC)
    return partial(_parse_pattern, pattern=name, shape=_shape_of(name), local=local)


def _why_incomplete(directives: set[str]) -> str | None:
    for directive, instead in _INSTEAD.items():
        if directive in directives:
            return f"has %{directive}, which is not the same everywhere: use {instead}"
    has_date = directives & set("Yy") and (
        "j" in directives or ("d" in directives and directives & set("mbB"))
    )
    if not has_date and not {"G", "V"} <= directives:
        return "lacks a part of the date: name year, month and day"
    if ("p" in directives) != ("I" in directives):
        return "needs %I and %p together (1 to 12 with AM or PM), or %H"
    return None


def _shape_of(pattern: str) -> re.Pattern[str]:
    """
    What a text for a pattern must look like where numbers touch: all their digits.

    strptime reads 2021111 as 1 November, though it may be 11 January.
    """
    runs = _TOUCHING.split(pattern.replace("%%", ""))
    shapes = [
        "".join(rf"(?P<{name}>[0-9]{{{_WIDTHS[name]}}})" for name in run[1::2])
        for run in runs[1::2]
    ]
    between = r"(?![0-9]).*(?<![0-9])"
    return re.compile(
        f".*(?<![0-9]){between.join(shapes)}(?![0-9]).*" if shapes else ".*", re.DOTALL
    )


def _parse_pattern(text: str, pattern: str, shape: re.Pattern[str], local: LocalTimes) -> datetime:
    text = text.replace(NARROW_SPACE, " ")
    if ".%f" in pattern or ",%f" in pattern:
        text = _NANOSECONDS.sub("", text)
    reason = why_unreadable(text)
    # A pattern may name a month or a unit in any script.
    if reason and (text.isascii() or not text.isprintable() or _OTHER_DIGIT.search(text)):
        raise InvalidEvent("timestamp", reason)
    try:
        at = datetime.strptime(text, pattern)  # noqa: DTZ007 - in_utc names the zone
    except ValueError as exc:
        raise InvalidEvent("timestamp", f"{text!r} does not match {pattern!r}: {exc}") from exc
    problem = ""
    match = shape.fullmatch(text)
    numbers = match.groupdict() if match else {}
    if not match or any(f"{at:%{name}}" != numbers[name] for name in numbers if name != "f"):
        problem = "write each number with all its digits"
    elif _WEEKDAY.search(pattern) and f"{at:%a}".lower() not in text.lower():
        problem = f"that day was a {at:%A}"
    if problem:
        raise InvalidEvent("timestamp", f"{text!r} does not match {pattern!r}: {problem}")
    return in_utc(at, local)


def may_be_time(text: str) -> bool:
    """Whether a text is meant as a time, though perhaps an invalid one, and not as a name."""
    return sum(map(str.isdigit, text)) >= _DIGITS_OF_A_TIME and (text[0].isdigit() or ":" in text)


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        return bool(date(year, month, day))
    except ValueError:
        return False


class Survey:
    """
    Finds the format of a file's timestamps: call it with each of them, then `decide`.

    Called, it returns any instant, or raises `InvalidEvent` if the text cannot be one. Memory does
    not grow with the number of timestamps.
    """

    def __init__(self) -> None:
        #: An example of each unit.
        self._numbers: dict[str, str] = {}
        #: By separator: an example of a date with the "day" first, the "month", "day or month",
        #: or both in the "same" place.
        self._dates: dict[str, dict[str, str]] = {}

    def __call__(self, text: str) -> datetime:
        text = text.replace(NARROW_SPACE, " ")
        if not may_be_time(text):
            raise InvalidEvent("timestamp", f"{text[:128]!a} is not a date and time")
        unit = unit_of(text)
        if unit:
            self._numbers.setdefault(unit, text)
        elif match := TWO_WAY_DATE.fullmatch(text):
            one, other, year = (int(match[name]) for name in ("one", "other", "year"))
            orders = ["day"] * _is_date(year, other, one) + ["month"] * _is_date(year, one, other)
            order = "same" if one == other else " or ".join(orders)
            self._dates.setdefault(match["dash"], {}).setdefault(order, text)
        return EPOCH

    def decide(self, local: LocalTimes) -> TimestampParser:
        """What reads all timestamps of the file; raises `InvalidInput` if they are ambiguous."""
        if len(self._numbers) > 1:
            numbers = " and ".join(
                f"{text} ({UNITS[unit].name})" for unit, text in self._numbers.items()
            )
            raise InvalidInput(
                f"the timestamps are numbers of different units, such as {numbers}: split the file "
                "and name the unit of each with --timestamp-format"
            )
        orders: dict[str, str] = {}
        for dash, examples in self._dates.items():
            day, month = examples.get("day"), examples.get("month")
            if day and month:
                raise InvalidInput(
                    f"the timestamps have the day first ({day}) and the month first ({month}): "
                    "split the file and name the order of each with --timestamp-format"
                )
            if not day and not month and "day or month" in examples:
                why = why_two_ways(examples["day or month"])
                raise InvalidInput(f"the timestamp {why.reason}, or {why.option}" if why else "")
            orders[dash] = "month" if month else "day"
        unit = next(iter(self._numbers), None)
        return partial(_parse_auto, local=local, unit=unit, orders=orders)


def _parse_auto(text: str, local: LocalTimes, unit: str | None, orders: dict[str, str]) -> datetime:
    text = text.replace(NARROW_SPACE, " ")
    reason = why_unreadable(text)
    if reason:
        raise InvalidEvent("timestamp", reason)
    if unit and unit_of(text):
        return parse_epoch(text, unit)
    match = TWO_WAY_DATE.fullmatch(text)
    if match and match["dash"] in orders:
        if not match["hour"]:
            raise InvalidEvent(
                "timestamp",
                f"{text!r} has no time of day: add it",
                f"mean midnight with --timestamp-format "
                f"'{pattern_of(match, orders[match['dash']])}'",
            )
        names = ("day", "month") if orders[match["dash"]] == "day" else ("month", "day")
        parts = dict(zip(names, (match["one"], match["other"]), strict=True))
        return instant_of(match, local, **parts)
    return parse_print(text, local, is_free=True) or parse_timestamp(text, local)
