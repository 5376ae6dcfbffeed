"""How to read an input of events: the options, and what a reader yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from events.domain.columns import parse_mapping
from events.domain.timeformats import AUTO, TimestampParser, timestamp_parser
from events.domain.zones import NO_ZONE, LocalTimes, zone_named
from events.errors import InvalidInput
from events.models import Event

#: Characters of a rejected row that are kept.
_LONGEST_ROW_SHOWN = 1_000


@dataclass(frozen=True, slots=True)
class Reading:
    """The options of a reader."""

    #: Columns by field; other fields are found by their names and aliases.
    columns: Mapping[str, str] = field(default_factory=dict)
    #: None finds it in the first line.
    delimiter: str | None = None
    #: See `timestamp_parser`.
    timestamp_format: str = "iso"
    local: LocalTimes = NO_ZONE
    #: Accept the ids of all events that may be stored, to void them.
    is_stored: bool = False
    #: Replaces `timestamp_format`.
    parse_time: TimestampParser | None = None

    def time_parser(self) -> TimestampParser:
        return self.parse_time or timestamp_parser(self.timestamp_format, self.local)


DEFAULT = Reading()
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", r"\t": "\t", "pipe": "|", "space": " "}


class InvalidOption(InvalidInput):
    """An option of a reader is invalid; `option` is its name, as in `timestamp_format`."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"--{option.replace('_', '-')} {reason}")
        self.option = option
        self.reason = reason


def make_reading(
    *,
    columns: str | None = None,
    delimiter: str | None = None,
    timestamp_format: str = "iso",
    assume_timezone: str | None = None,
    ambiguous_hour: Literal["first", "second"] | None = None,
) -> Reading:
    """The options as people write them; raises `InvalidOption`."""
    option = "columns"
    try:
        mapping = parse_mapping(columns) if columns else {}
        option = "delimiter"
        character = _DELIMITERS.get(delimiter or "", delimiter)
        if character is not None and (
            len(character) != 1 or character.isalnum() or character in "\"'\r\n_"
        ):
            raise InvalidInput(f"{delimiter!r}: give one character, or {', '.join(_DELIMITERS)}")
        option = "assume_timezone"
        zone = zone_named(assume_timezone) if assume_timezone else None
        local = LocalTimes(zone, ambiguous_hour)
        option = "timestamp_format"
        if timestamp_format != AUTO:
            timestamp_parser(timestamp_format, local)
    except InvalidInput as exc:
        raise InvalidOption(option, str(exc)) from exc
    return Reading(mapping, character, timestamp_format, local)


class Rejection(NamedTuple):
    """
    A line that is not a valid event.

    `line` counts physical lines from 1, including the header and blank lines; rows in Parquet.
    `row` is the raw line without its line end, at most 1,000 characters; bytes that are not UTF-8
    are escaped as `\\xff`.
    """

    line: int
    reason: str
    row: str


#: The number of a physical line, from 1, and its event.
Numbered = tuple[int, Event]


def shown(raw: bytes) -> str:
    """The start of a row, for people."""
    # UTF-8 has at most four bytes per character.
    text = raw[: 4 * _LONGEST_ROW_SHOWN].decode("utf-8", "backslashreplace")
    return text[:_LONGEST_ROW_SHOWN]
