"""The question about a customer's counts that `buckets` and `export` ask."""

from __future__ import annotations

from datetime import UTC, tzinfo

from events.domain.calendars import parse_bound
from events.domain.parsing import check_customer_id, check_event_type
from events.domain.windows import EARLIEST, LATEST, window_between
from events.domain.zones import zone_named
from events.errors import InvalidEvent, InvalidInput
from events.models import BucketQuery, Calendar, Unit, Window


def make_question(
    customer: str,
    *,
    start: str | None,
    end: str | None,
    window: str,
    timezone: str | None,
    types: list[str] | None,
    group_by: str | None,
    fill: str | None,
) -> BucketQuery:
    try:
        event_types = frozenset(check_event_type(event_type) for event_type in types or ())
    except InvalidEvent as exc:
        raise InvalidInput(f"--type {exc.reason}") from exc
    zone = None if timezone is None else zone_named(timezone)
    calendar = None
    if window != "hour" or zone is not None:
        calendar = Calendar(Unit(window), zone or UTC)
    return BucketQuery(
        check_customer_id(customer),
        parse_window(start, end, zone),
        event_types,
        is_grouped=group_by is not None,
        is_filled=fill is not None,
        calendar=calendar,
    )


def parse_window(start: str | None, end: str | None, zone: tzinfo | None = None) -> Window:
    """The range of `--start` and `--end` (see `parse_bound`); without them, all of time."""
    return window_between(
        EARLIEST if start is None else parse_bound(start, "--start", zone),
        LATEST if end is None else parse_bound(end, "--end", zone),
    )
