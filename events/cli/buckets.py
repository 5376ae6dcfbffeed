"""`python -m events buckets`: show the counts of one or several customers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from typer import Option

from events.cli import EXIT_OK, check_at_most_one, command, counted, options, printable
from events.cli.output import encode, table_text, write_json, write_pieces
from events.cli.questions import make_question, pieces_of
from events.domain.calendars import local_text
from events.models import BucketCount, BucketQuery, Calendar, Unit
from events.queries.formats import Counts, count_object, hour_text

#: The width of the chart when standard output is not a terminal and COLUMNS is not set.
_COLUMNS = 80
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
#: A shorter bar shows too little.
_SHORTEST_BAR = 8
_PARTIAL = "~"
Csv = Annotated[bool, Option("--csv", help="Print CSV.")]


@command()
def buckets(
    customers: options.Customers, start: options.Start = None, end: options.End = None,
    window: options.WindowSize = "hour", timezone: options.TimeZone = None,
    types: options.Types = None, group_by: options.GroupBy = None, fill: options.Fill = None,
    json: options.Json = False, csv: Csv = False,
) -> int:  # fmt: skip
    """
    Show the counts of one or several customers with bars.

    Exit code: 0 all counts are printed; 2 they could not be read or printed.
    """
    from events.bootstrap import load_settings
    from events.cli.service import open_service

    check_at_most_one(json=json, csv=csv)
    query = make_question(
        customers, start=start, end=end, window=window, timezone=timezone, types=types,
        group_by=group_by, fill=fill,
    )  # fmt: skip
    settings = load_settings()
    with open_service(settings) as service:
        questions = [replace(query.question, customer_id=name) for name in query.customer_ids or ()]
        if csv:
            write_pieces(pieces_of("csv", query, service))
        elif json:
            answers = [_as_json(question, service.all_buckets(question)) for question in questions]
            answer: dict[str, Any] = answers[0] if len(answers) == 1 else {"customers": answers}
            if settings.events_counts == "windowed":
                answer["windowed"] = {"watermark_seconds": settings.events_watermark_seconds}
            write_json(answer)
        else:
            columns = shutil.get_terminal_size((_COLUMNS, 24)).columns
            can_draw = b"\\u" not in encode(_EIGHTHS)
            texts = []
            for question in questions:
                counts = list(service.all_buckets(question))
                text = chart(counts, question.calendar, columns=columns, can_draw=can_draw)
                title = f"{printable(question.customer_id)}\n" if len(questions) > 1 else ""
                texts.append(title + text)
            write_pieces([encode("\n".join(texts))])
    return EXIT_OK


def _as_json(query: BucketQuery, counts: Counts) -> dict[str, Any]:
    calendar, window = query.calendar, query.window
    rows = [count_object(count, calendar) for count in counts]
    periods = {}
    if calendar is not None:
        periods = {"window": calendar.unit.value, "timezone": str(calendar.zone)}
    return {
        "customer_id": query.customer_id,
        "start": window.start,
        "end": window.end,
        **periods,
        "total": sum(row["count"] for row in rows),
        "buckets": rows,
    }


# --- the chart ------------------------------------------------------------------------------------


def chart(
    counts: Sequence[BucketCount],
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
    from rich.cells import cell_len

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


def _rows(calendar: Calendar | None, count: BucketCount) -> Iterator[tuple[str, str, int]]:
    """Label, event type, number."""
    label = _label(calendar, count.start) + (_PARTIAL if count.is_partial else "")
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
    text = local_text(calendar, start)
    if calendar.unit is Unit.HOUR:
        return text[:16].replace("T", " ") + text[26:]
    day = text[:10]
    return day[:7] if calendar.unit is Unit.MONTH else day


def _bar(number: int, most: int, room: int, *, can_draw: bool) -> str:
    """`number` as a share of `room`; anything above zero is visible."""
    if not number:
        return ""
    eighths = max(1, number * room * 8 // most)
    if not can_draw:
        return "#" * max(1, eighths // 8)
    return (_FULL * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()
