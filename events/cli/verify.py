"""`python -m events verify`: prove that every counter equals a recount."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

from typer import Option

from events.cli import EXIT_DIFFERENT, EXIT_NOT_RUN, EXIT_OK, command, counted, printable
from events.cli.options import End, Json, OneCustomer, Start
from events.cli.output import write_json, write_result
from events.cli.questions import parse_window
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp
from events.models import Difference, Verification

Repair = Annotated[
    bool, Option("--repair", help="Write the recount over each counter that differs.")
]


@command()
def verify(
    customer: OneCustomer = None, start: Start = None, end: End = None, repair: Repair = False,
    json: Json = False,
) -> int:  # fmt: skip
    """
    Recount the stored events and compare every counter.

    The recount is strongly consistent and compares the counters of all types together and of
    each type. It is safe while events arrive: an hour is compared only if its counters did not
    change during the recount, and --repair only writes a counter that did not change since it
    was read.

    Exit code: 0 all equal; 1 something differed, even if it was repaired; 2 the recount could
    not run, or the counters of an hour kept changing.
    """
    from events.cli.service import open_service

    if customer is not None:
        check_customer_id(customer)
    window = None if start is None and end is None else parse_window(start, end)
    with open_service() as service:
        begin = time.monotonic()
        on_difference = (lambda _: None) if json else _print_difference
        result = service.verify(
            customer_id=customer, window=window, is_repairing=repair, on_difference=on_difference
        )
    (_print_json if json else _print_summary)(result, time.monotonic() - begin)
    return _exit_code(result)


def _exit_code(result: Verification) -> int:
    if result.differences or result.foreign or result.unlisted:
        return EXIT_DIFFERENT
    # Nothing is known to differ, but not everything could be judged.
    return EXIT_NOT_RUN if result.unsettled else EXIT_OK


def _print_difference(difference: Difference) -> None:
    types = "all types" if difference.event_type is None else f"type {difference.event_type}"
    write_result(
        f"customer {difference.customer_id}, hour {format_timestamp(difference.hour)}, {types}: "
        f"counter {difference.counter:,}, recount {difference.recount:,}"
    )


def _print_summary(result: Verification, seconds: float) -> None:
    lines = [
        f"customer {customer_id}, day {day}: the counters of some hours kept changing, so these "
        "hours were not judged; run again when fewer events arrive"
        for customer_id, day in result.unsettled
    ]
    lines += [
        f"customer {printable(customer_id)}: the item {key!a} in the events table is not an event, "
        "or in a wrong shard; delete it"
        for customer_id, key in result.foreign
    ]
    lines += [
        f"customer {customer_id}: has events and is missing from the list of customers"
        for customer_id in result.unlisted
    ]
    verdict = "every counter equals its recount"
    if len(result.differences) == 1:
        verdict = "1 counter differs from its recount"
    elif result.differences:
        verdict = f"{len(result.differences):,} counters differ from their recount"
    elif not result.is_equal:
        verdict = "no counter differs, but see above"
    elif not result.days:
        verdict = "there is nothing to compare"
    if result.repaired:
        verdict += f"; {result.repaired:,} items repaired"
    lines.append(
        f"{counted(result.customers, 'customer')}, {counted(result.days, 'day')}, "
        f"{counted(result.events, 'event')} recounted in {seconds:.1f} s: {verdict}"
    )
    write_result("\n".join(lines))


def _print_json(result: Verification, seconds: float) -> None:
    answer = {"is_equal": result.is_equal, **asdict(result), "seconds": round(seconds, 3)}
    answer["differences"] = [
        {"ts_start_of_hour" if name == "hour" else name: value for name, value in item.items()}
        for item in answer["differences"]
    ]
    answer["unsettled"] = [{"customer_id": id_, "day": day} for id_, day in result.unsettled]
    answer["foreign"] = [{"customer_id": id_, "event_key": key} for id_, key in result.foreign]
    write_json(answer)
