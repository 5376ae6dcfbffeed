"""How to read an input of events: the options, and what a reader yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from events.domain.timeformats import TimestampParser, timestamp_parser
from events.domain.zones import NO_ZONE, LocalTimes
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
