"""What the commands that read a CSV file have in common, wherever they put its events."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from events.bootstrap import load_settings
from events.cli.output import write_result
from events.config import Settings
from events.domain.timestamps import zone_named
from events.errors import EventsError, InvalidInput, StoreUnavailable
from events.ingest.csvrows import Rejection, read_records
from events.ingest.load import (
    EXIT_INTERRUPTED,
    Interrupted,
    Interrupts,
    RejectsFile,
    Result,
    Sink,
    ingest_records,
)
from events.ingest.source import LineInput, open_lines

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

EXIT_OK, EXIT_SOME_REJECTED, EXIT_NOT_RUN = 0, 1, 2
#: Rejections named on the terminal; all are in the file.
_REJECTIONS_SHOWN = 5
_SECONDS_BETWEEN_PROGRESS = 0.1


@dataclass(frozen=True, slots=True)
class Destination:
    """
    Where the events of a file go.

    Args:
        open: Opens it, or says soon that it is not there; the run can be interrupted meanwhile.
        taken: What is so of an event once it is taken, such as `stored`.
        how_to_start: What to add where it does not answer.
    """

    open: Callable[[Settings, Interrupts], AbstractContextManager[Sink]]
    taken: str
    how_to_start: Callable[[Settings], str]


def run(options: argparse.Namespace, result: Result, destination: Destination) -> int:
    """
    Read the file that `options` name; returns the exit code.

    Args:
        options: Those of `add_arguments`.
        result: A fresh one, a dataclass.
    """
    # What is logged on the way to an error is said once, by the error.
    logging.getLogger("events").addHandler(logging.NullHandler())
    code, problem = EXIT_OK, ""
    rejects_path = options.rejects or _rejects_path(options.file)
    taken = f"What is counted below is {destination.taken}"
    try:
        _read(options, rejects_path, result, destination)
    except Interrupted:
        code = EXIT_INTERRUPTED
        problem = f"stopped before the end. {taken}; run again to go on"
    except InvalidInput as exc:
        code, problem = EXIT_NOT_RUN, str(exc)
    except EventsError as exc:
        code = EXIT_NOT_RUN
        problem = str(exc)
        if result.read:
            problem += f". {taken}; run again to go on, that is safe"
        elif isinstance(exc, StoreUnavailable):
            problem += destination.how_to_start(load_settings())
    except Exception:  # noqa: BLE001 - a mistake of ours; 1 would say that all is taken
        traceback.print_exc()
        return EXIT_NOT_RUN
    if code == EXIT_OK and result.rejected:
        code = EXIT_SOME_REJECTED
    if problem:
        _say(f"error: {problem}")
    has_begun = bool(result.read) or not problem
    try:
        if options.json:
            _print_json(options, result, rejects_path, code)
        elif has_begun:
            _print_summary(options, result, rejects_path, destination)
    except InvalidInput as exc:
        _say(f"error: {exc}. Run again to be told, that is safe")
        return EXIT_NOT_RUN
    return code


def _read(
    options: argparse.Namespace, rejects_path: Path, result: Result, destination: Destination
) -> None:
    zone = zone_named(options.assume_timezone) if options.assume_timezone else None
    settings = load_settings()
    with ExitStack() as opened:
        source = opened.enter_context(open_lines(options.file))
        interrupts = opened.enter_context(Interrupts())
        sink = None
        if not options.dry_run:
            sink = opened.enter_context(destination.open(settings, interrupts))
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
            sink,
            interrupts=interrupts,
            on_rejection=reject,
            on_progress=show,
            result=result,
        )


def _progress(source: LineInput) -> tuple[Callable[[Result], None], Callable[[], None]]:
    """What shows a result on one line of the terminal, and what clears that line again."""
    if not sys.stderr.isatty():
        return (lambda _: None), (lambda: None)
    begin = last = time.monotonic()

    def show(result: Result) -> None:
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
            f"\r\x1b[K{share}{result.read:,} rows read, "
            + "".join(f"{count:,} {label}, " for label, count in result.kinds())
            + f"{result.rejected:,} rejected"
        )
        sys.stderr.flush()

    def clear() -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    return show, clear


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _print_json(options: argparse.Namespace, result: Result, rejects_path: Path, code: int) -> None:
    answer: dict[str, Any] = {
        "file": options.file,
        "is_dry_run": options.dry_run,
        "is_complete": code in (EXIT_OK, EXIT_SOME_REJECTED),
        **asdict(cast("DataclassInstance", result)),
        "seconds": round(result.seconds, 3),
        "rows_per_second": _rate(result),
        "rejects_file": str(rejects_path) if result.rejected else None,
    }
    write_result(json.dumps(answer))


def _print_summary(
    options: argparse.Namespace, result: Result, rejects_path: Path, destination: Destination
) -> None:
    name = "standard input" if options.file == "-" else options.file
    rows = [("valid", result.read - result.rejected)] if options.dry_run else result.kinds()
    dry = f", nothing {destination.taken} (dry run)" if options.dry_run else ""
    read = "1 row" if result.read == 1 else f"{result.read:,} rows"
    lines = [
        f"{name}: {read} read in {result.seconds:.1f} s ({_rate(result):,} rows/s){dry}",
        *(f"  {label:<11}{count:>13,}" for label, count in [*rows, ("rejected", result.rejected)]),
    ]
    missing = result.read - result.rejected - sum(count for _, count in result.kinds())
    if missing and not options.dry_run:
        lines.append(
            f"  {'not known':<11}{missing:>13,}  read, and perhaps not {destination.taken}"
        )
    if result.rejected:
        lines.append(f"  rejected rows with line and reason: {rejects_path}")
    write_result("\n".join(lines))


def _rate(result: Result) -> int:
    return round(result.read / result.seconds) if result.seconds else 0


def _rejects_path(file: str) -> Path:
    return Path("stdin.rejects.csv" if file == "-" else f"{file}.rejects.csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `run` reads."""
    add = parser.add_argument
    add(
        "file",
        metavar="FILE",
        help="CSV with customer_id,event_type,transaction_id,timestamp, with or without a header "
        "that names them in any order; UTF-8; gzip is recognised; - reads standard input",
    )
    add("--dry-run", action="store_true", help="read and check every row, and no more")
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
