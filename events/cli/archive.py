"""`python -m events archive`: every message of the topic into Iceberg, once."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import time
from types import FrameType
from typing import TYPE_CHECKING

from events.bootstrap import load_settings
from events.cli import EXIT_OK, Commands, counted, port
from events.cli.output import write_result
from events.config import INGEST_PATIENCE_SECONDS
from events.errors import InvalidInput
from events.telemetry import logs

if TYPE_CHECKING:
    from events.archive.archiver import Archived, Archiver

log = logging.getLogger(__name__)


def add_to(commands: Commands) -> None:
    archive = commands.add_parser(
        "archive",
        help="Kafka to Iceberg: every message, once",
        description="Add the messages of the topic to the Iceberg table events.raw, and those that "
        "no event can be made of to events.raw_rejected with the reason, until SIGTERM or Ctrl-C; "
        "what was read is committed then. The offsets are in the tables, in the same commit: "
        "wherever it is killed, nothing is lost and nothing is there twice. A second one on the "
        "same tables does no harm and is of no use while the first one runs.",
        epilog="Exit code: 0 it ended when it was told to or at the end, 2 it could not go on.",
    )
    archive.set_defaults(command=_archive, is_service=True)
    archive.add_argument(
        "--until-end",
        action="store_true",
        help="stop when all is archived that the topic had at the start",
    )
    archive.add_argument(
        "--accept-gap",
        action="store_true",
        help="go on after messages that the topic no longer has; which they were is noted in the "
        "table",
    )
    archive.add_argument(
        "--metrics-port", type=port, help="serve metrics at this port of 127.0.0.1"
    )
    archive.add_argument("--json", action="store_true", help="print one JSON object at the end")


def _archive(options: argparse.Namespace) -> int:
    # Read when Arrow is imported. With its own allocator a process that commits for ever takes a
    # fifth more (benchmarks/README.md, "Does it run on and on?").
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    try:
        from events.archive.archiver import Archiver
    except ImportError as exc:
        raise InvalidInput(
            f"archive needs what requirements-stream.txt names: {exc.name} is not installed"
        ) from exc

    settings = load_settings()
    logs.configure(settings.events_log_format, settings.events_log_level)
    if options.metrics_port:
        from prometheus_client import start_http_server

        start_http_server(options.metrics_port, addr="127.0.0.1")
    archiver = Archiver(
        settings,
        is_until_end=options.until_end,
        is_gap_accepted=options.accept_gap,
        # A service waits for what it needs; a run that has an end says that it cannot reach it.
        patience_seconds=INGEST_PATIENCE_SECONDS if options.until_end else None,
    )
    _stop_on_signals(archiver)
    begin = time.monotonic()
    try:
        archiver.run()
    finally:
        _print(options, archiver.result, time.monotonic() - begin)
    return EXIT_OK


def _stop_on_signals(archiver: Archiver) -> None:
    """The first signal ends it in good order, a second one at once."""

    def stop(number: int, _frame: FrameType | None) -> None:
        archiver.stop()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _print(options: argparse.Namespace, done: Archived, seconds: float) -> None:
    if options.json:
        numbers = {
            "archived": done.archived,
            "rejected": done.rejected,
            "commits": done.commits,
            "conflicts": done.conflicts,
            "next_offsets": {str(each): at for each, at in sorted(done.next_offsets.items())},
            "seconds": round(seconds, 3),
        }
        write_result(json.dumps(numbers))
        return
    write_result(
        f"{counted(done.archived, 'event')} archived, "
        f"{counted(done.rejected, 'message')} rejected, in {counted(done.commits, 'commit')}"
    )
