"""Counts as a table with bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.cells import cell_len

from events.cli import counted, printable
from events.cli.output import table_text
from events.domain.calendars import local_text
from events.models import BucketCount, Calendar, PeriodCount, Unit
from events.queries.formats import hour_text

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
#: A shorter bar shows too little.
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
    One line per count, or per event type if the counts are grouped by type; then the total.

    Args:
        columns: The width of text and bar together. If the text leaves no room, there are no bars.
        can_draw: Whether to draw bars with Unicode blocks; otherwise with `#`.
    """
    noun = "hour" if calendar is None else calendar.unit.value
    zone = "UTC" if calendar is None else str(calendar.zone)
    rows = [row for count in counts for row in _rows(calendar, count)]
    total = sum(count.count for count in counts)
    cells = [(label, event_type, f"{number:,}") for label, event_type, number in rows]
    *lines, last = table_text([*cells, ("total", "", f"{total:,}")], right=2).splitlines()
    most = max((number for _, _, number in rows), default=0)
    room = columns - max(map(cell_len, [*lines, last])) - 2
    if room >= _SHORTEST_BAR:
        bars = [_bar(number, most, room, can_draw=can_draw) for _, _, number in rows]
        lines = [f"{line}  {bar}".rstrip() for line, bar in zip(lines, bars, strict=True)]
    lines.append(f"{last}  in {counted(len(counts), noun)}, {zone}")
    if any(count.is_partial for count in counts):
        lines.append(f"{_PARTIAL} partial: the range begins or ends inside this {noun}")
    return "\n".join(lines) + "\n"


def _rows(
    calendar: Calendar | None, count: BucketCount | PeriodCount
) -> Iterator[tuple[str, str, int]]:
    """Label, event type, number."""
    start = count.start if isinstance(count, BucketCount) else count.period.start
    label = _label(calendar, start) + (_PARTIAL if count.is_partial else "")
    if count.counts is None:
        yield label, "", count.count
        return
    # A bucket without events (`--fill zero`) still has a line.
    for event_type, number in (count.counts or {"": 0}).items():
        yield label, printable(event_type), number
        label = ""


def _label(calendar: Calendar | None, start: datetime) -> str:
    if calendar is None:
        return hour_text(start)[:16].replace("T", " ") + "Z"
    day = local_text(calendar, start)[:10]
    return day[:7] if calendar.unit is Unit.MONTH else day


def _bar(number: int, most: int, room: int, *, can_draw: bool) -> str:
    """`number` as a share of `room`; anything above zero is visible."""
    if not number:
        return ""
    eighths = max(1, number * room * 8 // most)
    if not can_draw:
        return "#" * max(1, eighths // 8)
    return (_FULL * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()
