"""`python -m events buckets`: counts of one customer, to look at."""

from __future__ import annotations

import argparse
import json
import shutil
from typing import Any

from events.bootstrap import load_settings
from events.cli import EXIT_OK, Commands
from events.cli.chart import chart
from events.cli.output import standard_output
from events.cli.questions import Asked, add_question, asked
from events.cli.service import opened_service
from events.domain.timestamps import format_timestamp
from events.queries.formats import Counts, count_object, csv_pieces

#: Where standard output is no terminal, and COLUMNS says nothing.
_COLUMNS = 80


def add_to(commands: Commands) -> None:
    buckets = commands.add_parser(
        "buckets",
        help="counts of a customer as a table with bars",
        description="Show the counts of a customer by UTC hour, day, week or month.",
        epilog="Exit code: 0 it is all there, 2 it could not be asked.",
    )
    buckets.set_defaults(command=_buckets, is_service=False)
    add_question(buckets)
    form = buckets.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--csv", action="store_true", help="print CSV")


def _buckets(options: argparse.Namespace) -> int:
    question, settings = asked(options), load_settings()
    with opened_service(settings) as service, standard_output() as output:
        counts = question.counts(service)
        if options.csv:
            for piece in csv_pieces(
                counts, question.calendar, is_grouped=question.query.is_grouped
            ):
                output.write(piece)
        elif options.json:
            found = _as_json(question, counts)
            if settings.events_counts == "windowed":
                found["windowed"] = {"watermark_seconds": settings.events_watermark_seconds}
            output.write_text(f"{json.dumps(found)}\n")
        else:
            text = chart(
                list(counts),
                question.calendar,
                columns=shutil.get_terminal_size((_COLUMNS, 24)).columns,
                can_draw=_can_write("█▏", output.encoding),
            )
            output.write_text(text)
    return EXIT_OK


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _as_json(question: Asked, counts: Counts) -> dict[str, Any]:
    calendar, window = question.calendar, question.query.window
    rows = [count_object(calendar, each) for each in counts]
    kind = {}
    if calendar is not None:
        kind = {"window": calendar.unit.value, "timezone": str(calendar.zone)}
    return {
        "customer_id": question.query.customer_id,
        "start": format_timestamp(window.start),
        "end": format_timestamp(window.end),
        **kind,
        "total": sum(each["count"] for each in rows),
        "buckets": rows,
    }
