"""The question about customers' counts that `buckets` and `export` ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

from events.domain.calendars import parse_bound
from events.domain.parsing import check_customer_id, check_event_type
from events.domain.windows import EARLIEST, LATEST, window_between
from events.domain.zones import zone_named
from events.errors import InvalidEvent, InvalidInput
from events.models import BucketQuery, Calendar, Unit, Window
from events.queries.customers import CustomersQuery
from events.queries.formats import Format, encoded

if TYPE_CHECKING:
    from events.service import EventService


def make_question(
    customers: list[str],
    *,
    start: str | None,
    end: str | None,
    window: str,
    timezone: str | None,
    types: list[str] | None,
    group_by: str | None,
    fill: str | None,
) -> CustomersQuery:
    try:
        event_types = frozenset(check_event_type(event_type) for event_type in types or ())
    except InvalidEvent as exc:
        raise InvalidInput(f"--type {exc.reason}") from exc
    zone = None if timezone is None else zone_named(timezone)
    calendar = None
    if window != "hour" or zone is not None:
        calendar = Calendar(Unit(window), zone or UTC)
    question = BucketQuery(
        "",
        parse_window(start, end, zone),
        event_types,
        is_grouped=group_by is not None,
        is_filled=fill is not None,
        calendar=calendar,
    )
    return CustomersQuery(question, tuple(dict.fromkeys(map(check_customer_id, customers))))


def parse_window(start: str | None, end: str | None, zone: tzinfo | None = None) -> Window:
    """The range of `--start` and `--end` (see `parse_bound`); without them, all of time."""
    return window_between(
        EARLIEST if start is None else parse_bound(start, "--start", zone),
        LATEST if end is None else parse_bound(end, "--end", zone),
    )


def pieces_of(file_format: Format, query: CustomersQuery, service: EventService) -> Iterator[bytes]:
    """All counts in a format; those of several customers name the customer in each line."""
    names = query.customer_ids or ()
    if len(names) == 1:
        question = replace(query.question, customer_id=names[0])
        return encoded(file_format, question, service.all_buckets(question))
    counts = service.all_customer_buckets(query)
    return encoded(file_format, query.question, counts, has_customers=True)
