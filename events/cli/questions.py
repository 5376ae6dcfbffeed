"""What the commands about counts have in common: what may be asked."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import UTC

from events.domain.parsing import check_customer_id, check_event_type
from events.domain.timestamps import parse_instant, zone_named
from events.domain.windows import EARLIEST, LATEST, window_between
from events.errors import InvalidEvent, InvalidInput
from events.models import BucketQuery, Calendar, Unit
from events.queries.formats import Counts
from events.service import EventService


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, of UTC hours where there is no calendar."""

    query: BucketQuery
    calendar: Calendar | None

    def counts(self, service: EventService) -> Counts:
        """The answer, read while it is gone through."""
        if self.calendar is None:
            return service.all_buckets(self.query)
        return service.all_periods(self.query, self.calendar)


def add_question(parser: argparse.ArgumentParser) -> None:
    """The arguments that `asked` reads."""
    parser.add_argument("customer", metavar="CUSTOMER", help="its id")
    parser.add_argument(
        "--start", metavar="TIME", help="from this time on (default: the first event)"
    )
    parser.add_argument("--end", metavar="TIME", help="before this time (default: the last event)")
    parser.add_argument(
        "--window",
        choices=("hour", *(unit.value for unit in Unit)),
        default="hour",
        help="count by UTC hour, or by day, week or month of --timezone (default: hour)",
    )
    parser.add_argument("--timezone", metavar="ZONE", help="an IANA name (default: UTC)")
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="TYPE",
        dest="types",
        help="only this event type; may be given several times",
    )
    parser.add_argument("--group-by", choices=("event_type",), help="count each type apart")
    parser.add_argument("--fill", choices=("zero",), help="also hours (days, …) without events")


def asked(options: argparse.Namespace) -> Asked:
    """What is asked; raises an error of ours that says what is wrong with it."""
    customer_id = check_customer_id(options.customer)
    try:
        types = frozenset(check_event_type(each) for each in options.types)
    except InvalidEvent as exc:
        raise InvalidInput(f"--type {exc.reason}") from exc
    calendar = None
    if options.window != "hour":
        zone = UTC if options.timezone is None else zone_named(options.timezone)
        calendar = Calendar(Unit(options.window), zone)
    elif options.timezone is not None:
        raise InvalidInput(
            "--timezone goes only with --window day, week or month: hours are UTC hours"
        )
    window = window_between(
        EARLIEST if options.start is None else parse_instant(options.start, "--start"),
        LATEST if options.end is None else parse_instant(options.end, "--end"),
    )
    query = BucketQuery(
        customer_id,
        window,
        types,
        is_grouped=options.group_by is not None,
        is_filled=options.fill is not None,
    )
    return Asked(query, calendar)
