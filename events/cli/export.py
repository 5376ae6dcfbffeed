"""`python -m events export`: all counts of a window as a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from events.cli import EXIT_OK, Commands, say
from events.cli.output import standard_output, write_file
from events.cli.questions import add_question, asked
from events.cli.service import opened_service
from events.errors import InvalidInput
from events.queries.formats import encoded


def add_to(commands: Commands) -> None:
    export = commands.add_parser(
        "export",
        help="all counts of a customer as CSV, JSON Lines or Parquet",
        description="Write the counts of a customer as a file, however many. Memory stays flat.",
        epilog="Exit code: 0 it is whole, 2 it is not; a file of an earlier run is then as it was.",
    )
    export.set_defaults(command=_export, is_service=False)
    add_question(export)
    export.add_argument(
        "--format",
        choices=("csv", "jsonl", "parquet"),
        default="csv",
        help="parquet needs requirements-export.txt (default: csv)",
    )
    export.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")


def _export(options: argparse.Namespace) -> int:
    question = asked(options)
    if options.format == "parquet" and options.output is None and sys.stdout.isatty():
        raise InvalidInput("Parquet is nothing for a terminal: name a file with --output")
    with opened_service() as service:
        pieces = encoded(
            options.format,
            question.counts(service),
            question.calendar,
            is_grouped=question.query.is_grouped,
        )
        if options.output is None:
            with standard_output() as output:
                for piece in pieces:
                    output.write(piece)
        else:
            size = write_file(options.output, pieces)
            say(f"{options.output}: {size:,} bytes")
    return EXIT_OK
