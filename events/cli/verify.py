"""`python -m events verify`: the proof that counters equal a recount."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from events.cli import EXIT_DIFFERENT, EXIT_NOT_RUN, EXIT_OK, Commands, counted
from events.cli.output import write_result
from events.cli.service import opened_service
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp, parse_instant
from events.domain.windows import EARLIEST, LATEST, window_between
from events.models import Difference, Verification, Window


def add_to(commands: Commands) -> None:
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


def _verify(options: argparse.Namespace) -> int:
    if options.customer is not None:
        check_customer_id(options.customer)
    window = _window(options)
    with opened_service() as service:
        begin = time.monotonic()
        found = service.verify(
            customer_id=options.customer,
            window=window,
            is_repairing=options.repair,
            on_difference=(lambda _: None) if options.json else _print_difference,
        )
    seconds = time.monotonic() - begin
    if options.json:
        write_result(json.dumps(_as_json(found, seconds)))
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
    write_result(
        f"customer {difference.customer_id}, hour {format_timestamp(difference.hour)}, {kind}: "
        f"counter {difference.counter:,}, recount {difference.recount:,}"
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
        f"{counted(found.customers, 'customer')}, {counted(found.days, 'day')}, "
        f"{counted(found.events, 'event')} recounted in {seconds:.1f} s: {said}"
    )
    write_result("\n".join(lines))


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
