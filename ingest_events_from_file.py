"""Store and count the events of a CSV file: `python ingest_events_from_file.py FILE`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from events.bootstrap import SECONDS_TO_FIND_THE_STORE, load_settings, make_service
from events.csvfile import Rejection, read_records
from events.errors import EventsError, InvalidInput, StoreUnavailable
from events.fileingest import (
    EXIT_INTERRUPTED,
    Interrupted,
    Interrupts,
    RejectsFile,
    ingest_records,
)
from events.lines import LineInput, open_lines
from events.models import IngestResult
from events.timestamps import convert_to_iso_8601_utc, zone_named

__all__ = ["convert_to_iso_8601_utc", "main"]

EXIT_OK, EXIT_SOME_REJECTED, EXIT_NOT_RUN = 0, 1, 2
#: Rejections named on the terminal; all are in the file.
_REJECTIONS_SHOWN = 5
_SECONDS_BETWEEN_PROGRESS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    # What is logged on the way to an error is said once, by the error.
    logging.getLogger("events").addHandler(logging.NullHandler())
    options = _parser().parse_args(arguments)
    result = IngestResult()
    code, problem = EXIT_OK, ""
    rejects_path = options.rejects or _rejects_path(options.file)
    try:
        _ingest(options, rejects_path, result)
    except Interrupted:
        code = EXIT_INTERRUPTED
        problem = "stopped before the end. What is counted below is stored; run again to go on"
    except InvalidInput as exc:
        code, problem = EXIT_NOT_RUN, str(exc)
    except EventsError as exc:
        code = EXIT_NOT_RUN
        problem = str(exc)
        if result.read:
            problem += ". What is counted below is stored; run again to go on, that is safe"
        elif isinstance(exc, StoreUnavailable):
            problem += _how_to_start()
    except Exception:  # noqa: BLE001 - a mistake of ours; 1 would say that all is stored
        traceback.print_exc()
        return EXIT_NOT_RUN
    if code == EXIT_OK and result.rejected:
        code = EXIT_SOME_REJECTED
    if problem:
        _say(f"error: {problem}")
    has_begun = bool(result.read) or not problem
    if options.json:
        _print_json(options, result, rejects_path, code)
    elif has_begun:
        _print_summary(options, result, rejects_path)
    return code


def _how_to_start() -> str:
    settings = load_settings()
    if not settings.is_local:
        return ""
    port = urlsplit(settings.dynamodb_endpoint_url).port
    option = f" --port {port}" if port not in (None, 9000) else ""
    return f". Start one on this machine with: python -m events local{option}"


def _ingest(options: argparse.Namespace, rejects_path: Path, result: IngestResult) -> None:
    zone = zone_named(options.assume_timezone) if options.assume_timezone else None
    settings = load_settings()
    if options.workers:
        settings = settings.model_copy(update={"events_write_threads": options.workers})
    with ExitStack() as opened:
        source = opened.enter_context(open_lines(options.file))
        interrupts = opened.enter_context(Interrupts())
        service = None
        if not options.dry_run:
            service = make_service(
                settings, patience_seconds=settings.events_ingest_patience_seconds
            )
            opened.callback(service.close)
            # A store that nobody started is said soon, not after the whole patience.
            with interrupts.waiting():
                service.create_tables(patience_seconds=SECONDS_TO_FIND_THE_STORE)
        rejects = opened.enter_context(RejectsFile(rejects_path, options.file))
        show, clear = _progress(source)
        opened.callback(clear)

        def reject(rejection: Rejection) -> None:
            rejects.add(rejection)
            if rejects.count <= _REJECTIONS_SHOWN:
                clear()
                _say(f"rejected line {rejection.line:,}: {rejection.reason}")
            elif rejects.count == _REJECTIONS_SHOWN + 1:
                clear()
                _say(f"rejected more lines: all are in {rejects.path}")

        ingest_records(
            read_records(source, assume_zone=zone, is_lenient=options.lenient_timestamps),
            service,
            interrupts=interrupts,
            on_rejection=reject,
            on_progress=show,
            result=result,
        )


def _progress(source: LineInput) -> tuple[Callable[[IngestResult], None], Callable[[], None]]:
    """What shows a result on one line of the terminal, and what clears that line again."""
    if not sys.stderr.isatty():
        return (lambda _: None), (lambda: None)
    begin = last = time.monotonic()

    def show(result: IngestResult) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _SECONDS_BETWEEN_PROGRESS:
            return
        last = now
        share = ""
        if source.size_bytes:
            done = min(source.bytes_read / source.size_bytes, 1)
            left = (now - begin) * (1 - done) / done if done else 0
            share = f"{done:4.0%}  {left:,.0f} s left  "
        sys.stderr.write(
            f"\r\x1b[K{share}{result.read:,} rows read, {result.inserted:,} inserted, "
            f"{result.duplicates:,} duplicates, {result.rejected:,} rejected"
        )
        sys.stderr.flush()

    def clear() -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    return show, clear


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _print_json(
    options: argparse.Namespace, result: IngestResult, rejects_path: Path, code: int
) -> None:
    answer = {
        "file": options.file,
        "is_dry_run": options.dry_run,
        "is_complete": code in (EXIT_OK, EXIT_SOME_REJECTED),
        **asdict(result),
        "seconds": round(result.seconds, 3),
        "rows_per_second": _rate(result),
        "rejects_file": str(rejects_path) if result.rejected else None,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


def _print_summary(options: argparse.Namespace, result: IngestResult, rejects_path: Path) -> None:
    name = "standard input" if options.file == "-" else options.file
    rows = [("inserted", result.inserted), ("duplicates", result.duplicates)]
    if options.dry_run:
        rows = [("valid", result.read - result.rejected)]
    elif result.voided:
        rows.append(("voided", result.voided))
    read = "1 row" if result.read == 1 else f"{result.read:,} rows"
    lines = [
        f"{name}: {read} read in {result.seconds:.1f} s "
        f"({_rate(result):,} rows/s){', nothing stored (dry run)' if options.dry_run else ''}",
        *(f"  {label:<11}{count:>13,}" for label, count in [*rows, ("rejected", result.rejected)]),
    ]
    known = result.rejected + result.inserted + result.duplicates + result.voided
    missing = result.read - known
    if missing and not options.dry_run:
        lines.append(f"  {'not known':<11}{missing:>13,}  read, and perhaps not stored")
    if result.rejected:
        lines.append(f"  rejected rows with line and reason: {rejects_path}")
    sys.stdout.write("\n".join(lines) + "\n")


def _rate(result: IngestResult) -> int:
    return round(result.read / result.seconds) if result.seconds else 0


def _rejects_path(file: str) -> Path:
    return Path("stdin.rejects.csv" if file == "-" else f"{file}.rejects.csv")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Store the events of a CSV file and count them, each exactly once for ever: "
        "running the same file again only finds duplicates.",
        epilog="Exit code: 0 all rows are stored and counted, 1 the same but some rows were "
        "rejected, 2 the run could not start or not finish, 130 it was interrupted. After 2 and "
        "130 run it again: that is always safe.",
    )
    add = parser.add_argument
    add(
        "file",
        metavar="FILE",
        help="CSV with customer_id,event_type,transaction_id,timestamp, with or without a header "
        "that names them in any order; UTF-8; gzip is recognised; - reads standard input",
    )
    add("--dry-run", action="store_true", help="read and check every row, store nothing")
    add("--json", action="store_true", help="print the summary as one JSON object")
    add(
        "--rejects",
        type=Path,
        metavar="PATH",
        help="where rejected rows go (default: FILE.rejects.csv)",
    )
    add(
        "--assume-timezone",
        metavar="ZONE",
        help="the IANA zone of timestamps without an offset, such as Europe/Berlin; without this "
        "they are rejected",
    )
    add(
        "--lenient-timestamps",
        action="store_true",
        help='also read timestamps in free form, such as "March 1 2021 10:00 UTC" (slow)',
    )
    add(
        "--workers",
        type=_workers,
        metavar="N",
        help="transactions under way at a time, 1 to 64 (default: EVENTS_WRITE_THREADS)",
    )
    return parser


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 to 64")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
