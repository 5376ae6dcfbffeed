"""`python -m events buckets`: show the counts of one customer."""

from __future__ import annotations

import shutil
from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from events.cli import EXIT_OK, check_at_most_one, command, options
from events.cli.output import encode, output_encoding, write_pieces, write_result
from events.cli.questions import Question, make_question

if TYPE_CHECKING:
    from events.queries.formats import Counts

#: The width of the chart when standard output is not a terminal and COLUMNS is not set.
_COLUMNS = 80
Csv = Annotated[bool, Option("--csv", help="Print CSV.")]


@command()
def buckets(
    customer: options.Customer, start: options.Start = None, end: options.End = None,
    window: options.WindowSize = "hour", timezone: options.TimeZone = None,
    types: options.Types = None, group_by: options.GroupBy = None, fill: options.Fill = None,
    json: options.Json = False, csv: Csv = False,
) -> int:  # fmt: skip
    """
    Show the counts of a customer with bars.

    Exit code: 0 all counts are printed; 2 they could not be read or printed.
    """
    from events.bootstrap import load_settings
    from events.cli.service import open_service
    from events.queries.formats import csv_pieces

    check_at_most_one(json=json, csv=csv)
    question = make_question(
        customer, start=start, end=end, window=window, timezone=timezone, types=types,
        group_by=group_by, fill=fill,
    )  # fmt: skip
    settings = load_settings()
    with open_service(settings) as service:
        counts = question.counts(service)
        if csv:
            is_grouped = question.query.is_grouped
            write_pieces(csv_pieces(counts, question.calendar, is_grouped=is_grouped))
        elif json:
            answer = _as_json(question, counts)
            if settings.events_counts == "windowed":
                answer["windowed"] = {"watermark_seconds": settings.events_watermark_seconds}
            write_result(dumps(answer))
        else:
            write_pieces([encode(_chart(question, counts))])
    return EXIT_OK


def _chart(question: Question, counts: Counts) -> str:
    from events.cli.chart import chart

    try:
        "█▏".encode(output_encoding())
        can_draw = True
    except UnicodeEncodeError:
        can_draw = False
    columns = shutil.get_terminal_size((_COLUMNS, 24)).columns
    return chart(list(counts), question.calendar, columns=columns, can_draw=can_draw)


def _as_json(question: Question, counts: Counts) -> dict[str, Any]:
    from events.domain.timestamps import format_timestamp
    from events.queries.formats import count_object

    calendar, window = question.calendar, question.query.window
    rows = [count_object(count, calendar) for count in counts]
    periods = {}
    if calendar is not None:
        periods = {"window": calendar.unit.value, "timezone": str(calendar.zone)}
    return {
        "customer_id": question.query.customer_id,
        "start": format_timestamp(window.start),
        "end": format_timestamp(window.end),
        **periods,
        "total": sum(row["count"] for row in rows),
        "buckets": rows,
    }
