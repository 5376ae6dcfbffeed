"""`python -m events shadow`: transaction ids that another service would count once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from events.cli import EXIT_DIFFERENT, EXIT_OK, command, counted, printable, say
from events.cli.options import End, Json, OneCustomer, Start
from events.cli.output import write_json, write_result
from events.cli.questions import parse_window
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp
from events.models import Event, Window
from events.queries.lookup import EventQuery

if TYPE_CHECKING:
    from events.service import EventService


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
        for customer_id in _customers(service, customer):
            for first, other in _repeated(service, customer_id, window):
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


def _customers(service: EventService, customer: str | None) -> Iterator[str]:
    if customer is not None:
        yield customer
        return
    after: str | None = None
    while True:
        page = service.customers(after=after, limit=100)
        yield from (total.customer_id for total in page.customers)
        after = page.next_customer
        if after is None:
            return


def _repeated(
    service: EventService, customer_id: str, window: Window
) -> Iterator[tuple[Event, Event]]:
    """Each event with the transaction id of an earlier one, and the earliest of these."""
    earliest: dict[str, Event] = {}
    after: str | None = None
    while True:
        page = service.events(EventQuery(customer_id, window, limit=1_000, after=after))
        for stored in page.events:
            if stored.voided_at is None:
                first = earliest.setdefault(stored.event.transaction_id, stored.event)
                if first is not stored.event:
                    yield first, stored.event
        after = page.next_after
        if after is None:
            return
