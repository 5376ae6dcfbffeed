"""The commands: `python -m events run | local | serve | consume | buckets | verify | …`."""

from __future__ import annotations

import argparse
import logging
import signal
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from events.cli import (
    EXIT_NOT_RUN,
    EXIT_OK,
    archive,
    buckets,
    consume,
    corrections,
    deadletters,
    export,
    keys,
    local,
    port,
    produce,
    say,
    serve,
    settings,
    verify,
)
from events.errors import EventsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    if not options.is_service:
        # What is logged on the way to an error is said once, by the error.
        logging.getLogger("events").addHandler(logging.NullHandler())
    try:
        code: int = options.command(options)
    except KeyboardInterrupt:
        say("stopped")
        return EXIT_OK if options.is_service else EXIT_NOT_RUN
    except EventsError as exc:
        say(f"error: {exc}")
        return EXIT_NOT_RUN
    except Exception:  # noqa: BLE001 - a mistake of ours; 1 would say that something differs
        traceback.print_exc()
        return EXIT_NOT_RUN
    return code


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


# --- run -----------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from events.cli.run import run  # needs a Java runtime, which `verify` does not

    run(file=options.file, port=options.port, data_folder=options.data)
    return EXIT_OK


# --- the command line -----------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m events",
        description="Exact counts of usage events per customer and UTC hour.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="everything at once: database, sample events, API",
        description="Start DynamoDB Local if nothing answers at DYNAMODB_ENDPOINT_URL, store the "
        "sample events, and serve the API. Ctrl-C or SIGTERM stops all that it started; the data "
        "is still there the next time.",
    )
    run.set_defaults(command=_run, is_service=True)
    run.add_argument("--port", type=port, default=8800, help="of the API (default: 8800)")
    run.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="the events to store first (default: resources/events.csv)",
    )
    run.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where the data lies (default: .local/data)"
    )

    local.add_to(commands)
    serve.add_to(commands)
    consume.add_to(commands)
    produce.add_to(commands)
    deadletters.add_to(commands)
    buckets.add_to(commands)
    export.add_to(commands)
    verify.add_to(commands)
    corrections.add_to(commands)
    keys.add_to(commands)
    archive.add_to(commands)
    settings.add_to(commands)
    return parser
