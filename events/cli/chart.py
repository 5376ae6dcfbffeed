"""Counts as lines of text with bars; pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from events.cli import counted, shown
from events.domain.calendars import local_text
from events.models import BucketCount, Calendar, PeriodCount, Unit
from events.queries.formats import hour_text

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
#: A bar that is shorter says nothing.
_SHORTEST_BAR = 8
_PARTIAL = "~"


def chart(
    counts: Sequence[BucketCount | PeriodCount],
    calendar: Calendar | None,
    *,
    columns: int,
    can_draw: bool = True,
) -> str:
    """
    A line for each count, or, where there are counts by type, for each type; and their total.

    Args:
        columns: The longest line, where the texts leave room for that.
        can_draw: Whether bars can be of Unicode blocks; else they are of `#`.
    """
    noun = "hour" if calendar is None else calendar.unit.value
    zone = "UTC" if calendar is None else str(calendar.zone)
    rows = [row for each in counts for row in _rows(calendar, each)]
    total = sum(each.count for each in counts)
    most = max((row.count for row in rows), default=0)
    label_width = max(len("total"), *(len(row.label) for row in rows), 0)
    kind_width = max((_width(row.kind) for row in rows), default=0)
    number_width = len(f"{total:,}")
    # The texts, and two spaces or a mark between each two.
    before = label_width + 2 + (kind_width + 2 if kind_width else 0) + number_width + 2
    room = columns - before
    lines = []
    for row in rows:
        gap = " " * (kind_width - _width(row.kind) + 2)
        kind = f"{row.kind}{gap}" if kind_width else ""
        bar = _bar(row.count, most, room, can_draw=can_draw) if room >= _SHORTEST_BAR else ""
        line = f"{row.label:<{label_width}}{row.mark:<2}{kind}{row.count:>{number_width},}  {bar}"
        lines.append(line.rstrip())
    label = f"{'total':<{before - number_width - 2}}"
    lines.append(f"{label}{total:>{number_width},}  in {counted(len(counts), noun)}, {zone}")
    if any(each.is_partial for each in counts):
        lines.append(f"{_PARTIAL} partial: the range begins or ends inside this {noun}")
    return "\n".join(lines) + "\n"


class _Row(NamedTuple):
    label: str
    mark: str
    kind: str
    count: int  # type: ignore[assignment] # as for `BucketCount`


def _rows(calendar: Calendar | None, each: BucketCount | PeriodCount) -> Iterator[_Row]:
    start = each.start if isinstance(each, BucketCount) else each.period.start
    label, mark = _label(calendar, start), _PARTIAL if each.is_partial else ""
    if each.counts is None:
        yield _Row(label, mark, "", each.count)
        return
    # One without events (`--fill zero`) keeps its line.
    for kind, count in (each.counts or {"": 0}).items():
        yield _Row(label, mark, shown(kind), count)
        label = mark = ""


def _label(calendar: Calendar | None, start: datetime) -> str:
    if calendar is None:
        return hour_text(start)[:16].replace("T", " ") + "Z"
    day = local_text(calendar, start)[:10]
    return day[:7] if calendar.unit is Unit.MONTH else day


def _width(text: str) -> int:
    """Columns that a terminal gives a text: two for an ideograph, none for an accent put on it."""
    return sum(
        2 if unicodedata.east_asian_width(each) in "WF" else not unicodedata.combining(each)
        for each in text
    )


def _bar(count: int, most: int, room: int, *, can_draw: bool) -> str:
    """`count` as a part of `room`; whatever is more than nothing can be seen."""
    if not count:
        return ""
    eighths = max(1, count * room * 8 // most)
    if not can_draw:
        return "#" * max(1, eighths // 8)
    return (_FULL * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()
