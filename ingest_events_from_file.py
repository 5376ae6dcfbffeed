"""Store and count the events of a CSV file: `python ingest_events_from_file.py FILE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from events.bootstrap import SECONDS_TO_FIND_THE_STORE, make_service
from events.cli import load as fromfile
from events.config import INGEST_PATIENCE_SECONDS, Settings
from events.domain.timestamps import convert_to_iso_8601_utc
from events.ingest.load import Interrupts, Sink
from events.models import IngestResult

__all__ = ["convert_to_iso_8601_utc", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)

    @contextmanager
    def open_store(settings: Settings, interrupts: Interrupts) -> Iterator[Sink]:
        if options.workers:
            settings = settings.model_copy(update={"events_write_threads": options.workers})
        with closing(make_service(settings, patience_seconds=options.patience)) as service:
            # A store that nobody started is said soon, not after the whole patience.
            with interrupts.waiting():
                service.create_tables(patience_seconds=SECONDS_TO_FIND_THE_STORE)
            yield service

    store = fromfile.Destination(open_store, "stored", _how_to_start)
    return fromfile.run(options, IngestResult(), store)


def _how_to_start(settings: Settings) -> str:
    if not settings.is_local:
        return ""
    port = urlsplit(settings.dynamodb_endpoint_url).port
    option = f" --port {port}" if port not in (None, 9000) else ""
    return f". Start one on this machine with: python -m events local{option}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Store the events of a CSV file and count them, each exactly once for ever: "
        "running the same file again only finds duplicates.",
        epilog="Exit code: 0 all rows are stored and counted, 1 the same but some rows were "
        "rejected, 2 the run could not start or not finish, 130 it was interrupted. After 2 and "
        "130 run it again: that is always safe.",
    )
    fromfile.add_arguments(parser)
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="transactions under way at a time, 1 to 64 (default: EVENTS_WRITE_THREADS)",
    )
    parser.add_argument(
        "--patience",
        type=_patience,
        default=INGEST_PATIENCE_SECONDS,
        metavar="SECONDS",
        help="how long to retry a store that does not answer, 0 to 540 (default: "
        f"{INGEST_PATIENCE_SECONDS:g})",
    )
    return parser


def _patience(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 540:
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds from 0 to 540")
    return seconds


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 to 64")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
