"""`python -m events export`: write all counts of customers to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from events.cli import EXIT_OK, command, options, say
from events.cli.output import write_file, write_pieces
from events.cli.questions import make_question, pieces_of
from events.errors import InvalidInput
from events.queries import formats

Format = Annotated[
    formats.Format,
    Option("--format", help="The file format; parquet needs requirements-export.txt."),
]
Output = Annotated[
    Path | None, Option(metavar="FILE", help="Where to write (default: standard output).")
]


@command()
def export(
    customers: options.Customers, start: options.Start = None, end: options.End = None,
    window: options.WindowSize = "hour", timezone: options.TimeZone = None,
    types: options.Types = None, group_by: options.GroupBy = None, fill: options.Fill = None,
    file_format: Format = "csv", output: Output = None,
) -> int:  # fmt: skip
    """
    Write all counts of one or several customers to a file.

    The file is CSV, JSON Lines or Parquet. Memory stays flat, however many counts there are.

    Exit code: 0 the export is complete; 2 it is not, and an earlier file is unchanged.
    """
    from events.cli.service import open_service

    query = make_question(
        customers, start=start, end=end, window=window, timezone=timezone, types=types,
        group_by=group_by, fill=fill,
    )  # fmt: skip
    if file_format == "parquet" and output is None and sys.stdout.isatty():
        raise InvalidInput("a terminal cannot show Parquet: name a file with --output")
    with open_service() as service:
        pieces = pieces_of(file_format, query, service)
        if output is None:
            write_pieces(pieces)
        else:
            size = write_file(output, pieces)
            say(f"{output}: {size:,} bytes")
    return EXIT_OK
