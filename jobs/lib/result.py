"""The days that a recount is asked for, and what it prints."""

from __future__ import annotations

import sys
from typing import Any

from events.domain.timestamps import format_timestamp, parse_instant
from events.domain.windows import EARLIEST, LATEST, window_between
from events.errors import InvalidInput
from events.models import Difference, Window
from jobs.lib.compare import Comparison
from jobs.lib.program import print_json


def days_between(start: str | None, end: str | None) -> Window:
    """A window of whole UTC days; all time by default."""
    window = window_between(
        EARLIEST if start is None else parse_instant(start, "--start"),
        LATEST if end is None else parse_instant(end, "--end"),
    )
    for at in (window.start, window.end):
        if at != LATEST and (at.hour, at.minute, at.second, at.microsecond) != (0, 0, 0, 0):
            raise InvalidInput(
                f"{format_timestamp(at)} is not midnight UTC: --start and --end are whole days"
            )
    return window


def print_result(
    comparison: Comparison, *, is_json: bool, is_equal: bool, is_compared: bool
) -> None:
    if is_json:
        numbers: dict[str, Any] = {"events": comparison.events}
        if is_compared:
            numbers |= {
                "is_equal": is_equal,
                "customers": comparison.customers,
                "voided": comparison.voided,
                "differences": [_as_json(difference) for difference in comparison.differences],
            }
        print_json(numbers)
        return
    lines = [
        f"customer {one.customer_id}, hour {format_timestamp(one.hour)}, "
        f"{'all types' if one.event_type is None else f'type {one.event_type}'}: "
        f"counter {one.counter:,}, recount {one.recount:,}"
        for one in comparison.differences
    ]
    lines.append(f"{comparison.events:,} distinct events counted")
    if is_compared:
        lines.append(
            f"{comparison.customers:,} customers compared, {comparison.voided:,} events voided: "
            f"{'equal' if is_equal else 'NOT equal'}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


def _as_json(difference: Difference) -> dict[str, Any]:
    return {
        "customer_id": difference.customer_id,
        "ts_start_of_hour": format_timestamp(difference.hour),
        "event_type": difference.event_type,
        "counter": difference.counter,
        "recount": difference.recount,
    }
