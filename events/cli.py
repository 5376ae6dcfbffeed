"""The commands: `python -m events run | local | verify`."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from events.bootstrap import SECONDS_TO_FIND_THE_STORE, load_settings, make_service
from events.errors import EventsError
from events.models import Difference, Verification, Window
from events.parsing import check_customer_id
from events.timestamps import format_timestamp, parse_instant
from events.windows import EARLIEST, LATEST, window_between

EXIT_OK, EXIT_DIFFERENT, EXIT_NOT_RUN = 0, 1, 2


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
        _say("stopped")
        return EXIT_OK if options.is_service else EXIT_NOT_RUN
    except EventsError as exc:
        _say(f"error: {exc}")
        return EXIT_NOT_RUN
    except Exception:  # noqa: BLE001 - a mistake of ours; 1 would say that something differs
        traceback.print_exc()
        return EXIT_NOT_RUN
    return code


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


# --- run, local -----------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from events.local.run import run  # needs a Java runtime, which `verify` does not

    run(file=options.file, port=options.port, data_folder=options.data)
    return EXIT_OK


def _local(options: argparse.Namespace) -> int:
    from events.local import dynamodb

    folder = None if options.in_memory else options.data or dynamodb.DATA_FOLDER
    with dynamodb.start(port=options.port, data_folder=folder) as server:
        kept = "in memory" if folder is None else f"in {folder}"
        _say(f"DynamoDB Local answers at {server.endpoint_url}, data {kept}. Ctrl-C stops it.")
        code = server.wait()
    _say(f"error: DynamoDB Local ended by itself with code {code}")
    return EXIT_NOT_RUN


# --- verify ---------------------------------------------------------------------------------------


def _verify(options: argparse.Namespace) -> int:
    if options.customer is not None:
        check_customer_id(options.customer)
    window = _window(options)
    settings = load_settings()
    # A name that is wrong by a letter must not come out as a proof on empty tables.
    service = make_service(
        settings,
        patience_seconds=settings.events_ingest_patience_seconds,
        may_make_tables=False,
    )
    begin = time.monotonic()
    try:
        # A store that is not there is said soon, not after the whole patience.
        service.check(
            patience_seconds=min(SECONDS_TO_FIND_THE_STORE, settings.events_ingest_patience_seconds)
        )
        found = service.verify(
            customer_id=options.customer,
            window=window,
            is_repairing=options.repair,
            on_difference=(lambda _: None) if options.json else _print_difference,
        )
    finally:
        service.close()
    seconds = time.monotonic() - begin
    if options.json:
        sys.stdout.write(json.dumps(_as_json(found, seconds)) + "\n")
    else:
        _print_verification(found, seconds)
    return _exit_code(found)


def _exit_code(found: Verification) -> int:
    if found.differences or found.foreign or found.unlisted:
        return EXIT_DIFFERENT
    # Nothing is known to be wrong, and not everything to be right.
    return EXIT_NOT_RUN if found.unsettled else EXIT_OK


def _window(options: argparse.Namespace) -> Window | None:
    if options.start is None and options.end is None:
        return None
    return window_between(
        EARLIEST if options.start is None else parse_instant(options.start, "--start"),
        LATEST if options.end is None else parse_instant(options.end, "--end"),
    )


def _print_difference(difference: Difference) -> None:
    kind = "all types" if difference.event_type is None else f"type {difference.event_type}"
    sys.stdout.write(
        f"customer {difference.customer_id}, hour {format_timestamp(difference.hour)}, {kind}: "
        f"counter {difference.counter:,}, recount {difference.recount:,}\n"
    )


def _print_verification(found: Verification, seconds: float) -> None:
    lines = [
        f"customer {customer_id}, day {day}: counters of some hours kept moving, so nothing is "
        "said of those; run again when fewer events arrive"
        for customer_id, day in found.unsettled
    ]
    lines += [
        f"customer {customer_id}: the item {key!a} in the events table is no event; delete it"
        for customer_id, key in found.foreign
    ]
    lines += [
        f"customer {customer_id}: has events and is missing from the list of customers"
        for customer_id in found.unlisted
    ]
    differences = len(found.differences)
    said = "every counter equals its recount"
    if differences == 1:
        said = "1 counter differs from its recount"
    elif differences:
        said = f"{differences:,} counters differ from their recount"
    elif not found.is_equal:
        said = "no counter differs, but see above"
    elif not found.days:
        said = "there is nothing to compare"
    if found.repaired:
        said += f"; {found.repaired:,} items repaired"
    lines.append(
        f"{_counted(found.customers, 'customer')}, {_counted(found.days, 'day')}, "
        f"{_counted(found.events, 'event')} recounted in {seconds:.1f} s: {said}"
    )
    sys.stdout.write("\n".join(lines) + "\n")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _as_json(found: Verification, seconds: float) -> dict[str, Any]:
    return {
        "is_equal": found.is_equal,
        "customers": found.customers,
        "days": found.days,
        "events": found.events,
        "differences": [
            {
                "customer_id": difference.customer_id,
                "ts_start_of_hour": format_timestamp(difference.hour),
                "event_type": difference.event_type,
                "counter": difference.counter,
                "recount": difference.recount,
            }
            for difference in found.differences
        ],
        "unsettled": [
            {"customer_id": customer_id, "day": day} for customer_id, day in found.unsettled
        ],
        "foreign": [
            {"customer_id": customer_id, "event_key": key} for customer_id, key in found.foreign
        ],
        "unlisted": list(found.unlisted),
        "repaired": found.repaired,
        "seconds": round(seconds, 3),
    }


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
    run.add_argument("--port", type=_port, default=8800, help="of the API (default: 8800)")
    run.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="the events to store first (default: resources/events.csv)",
    )
    _add_data(run)

    local = commands.add_parser(
        "local",
        help="the database alone, on this machine",
        description="Run DynamoDB Local until Ctrl-C or SIGTERM. The first time it is fetched "
        "from Maven Central; DYNAMODB_LOCAL_HOME names an unpacked copy to use instead, and "
        "JAVA_HOME another Java runtime.",
    )
    local.set_defaults(command=_local, is_service=True)
    local.add_argument("--port", type=_port, default=9000, help="default: 9000")
    where = local.add_mutually_exclusive_group()
    _add_data(where)
    where.add_argument("--in-memory", action="store_true", help="keep nothing after it stops")

    verify = commands.add_parser(
        "verify",
        help="recount the raw events and compare the counters",
        description="Recount the stored events of each customer, strongly consistently, and "
        "compare the counters of all types and of each. Safe while events arrive.",
        epilog="Exit code: 0 all equal, 1 something differed (also when it was repaired), 2 the "
        "recount could not run, or the counters of an hour never stood still.",
    )
    verify.set_defaults(command=_verify, is_service=False)
    verify.add_argument("--customer", metavar="ID", help="only this customer")
    verify.add_argument("--start", metavar="TIME", help="only the UTC days from this time on")
    verify.add_argument("--end", metavar="TIME", help="only the UTC days before this time")
    verify.add_argument(
        "--repair",
        action="store_true",
        help="write the recount where a counter differs and is still what was read",
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _add_data(parser: Any) -> None:
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where the data lies (default: .local/data)"
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r}: give a port from 1 to 65535")
    return int(text)
