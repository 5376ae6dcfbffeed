"""`python -m events shadow`: transaction ids that another service would count once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from events.cli import EXIT_DIFFERENT, EXIT_OK, command, counted, printable, say
from events.cli.options import End, Json, OneCustomer, Start
from events.cli.output import write_json, write_result
from events.cli.questions import parse_window
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp
from events.domain.windows import NO_TIME
from events.models import Event, StoredEvent
from events.queries.lookup import EventQuery

_EVENTS_PER_PAGE = 1_000


@command()
def shadow(
    customer: OneCustomer = None, start: Start = None, end: End = None, json: Json = False
) -> int:
    """
    List transaction ids of a customer that came with several timestamps or event types.

    Each of these is several events here, and one for services that compare the transaction id
    alone. Usually a retry made a new timestamp. The command reads all stored events of the range
    and keeps the transaction ids of one customer in memory. Voided events are left out.

    Exit code: 0 none found; 1 some found; 2 could not run.
    """
    from events.cli.service import open_service

    if customer is not None:
        check_customer_id(customer)
    window = parse_window(start, end)
    found = 0
    with open_service() as service:
        everybody = (one.customer_id for one in service.all_customers(NO_TIME))
        for customer_id in everybody if customer is None else [customer]:
            query = EventQuery(customer_id, window, limit=_EVENTS_PER_PAGE)
            for first, other in _repeated(service.all_events(query)):
                found += 1
                if json:
                    write_json({"first": first._asdict(), "other": other._asdict()})
                    continue
                line = f"{customer_id} {other.transaction_id}:"
                for event in (first, other):
                    line += f" {event.event_type} at {format_timestamp(event.timestamp)};"
                write_result(printable(line[:-1]))
    say(f"{counted(found, 'further event')} with a transaction id of an earlier one")
    return EXIT_DIFFERENT if found else EXIT_OK


def _repeated(events: Iterable[StoredEvent]) -> Iterator[tuple[Event, Event]]:
    """Each event with the transaction id of an earlier one, and the earliest of these."""
    earliest: dict[str, Event] = {}
    for event, _, voided_at, _ in events:
        if voided_at is None:
            first = earliest.setdefault(event.transaction_id, event)
            if first is not event:
                yield first, event
