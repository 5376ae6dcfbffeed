"""Counts by day, week and month equal a count by hand, and all have the same total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from events.domain.calendars import period_at
from events.models import BucketCount, BucketQuery, Calendar, Event, Unit, Window
from events.service import EventService
from tests.property.test_calendars import calendars, moments
from tests.support.sqlstore import MemoryStore

#: Within a few weeks of some moment, often on a quarter of an hour, where zones have midnights.
offsets = st.one_of(
    st.integers(0, 40 * 86_400).map(lambda seconds: timedelta(seconds=seconds)),
    st.integers(0, 40 * 96).map(lambda quarters: quarters * timedelta(minutes=15)),
)


@given(
    calendar=calendars,
    base=moments,
    times=st.lists(st.tuples(offsets, st.sampled_from("ab")), max_size=20),
    ends=st.tuples(offsets, offsets),
    limit=st.integers(1, 5),
)
def test_every_window_equals_a_count_by_hand(
    calendar: Calendar,
    base: datetime,
    times: Sequence[tuple[timedelta, str]],
    ends: tuple[timedelta, timedelta],
    limit: int,
) -> None:
    events = [
        Event("acme", event_type, f"t-{index}", base + offset)
        for index, (offset, event_type) in enumerate(times)
    ]
    window = Window(base + min(ends), base + max(ends))
    inside = [event for event in events if window.start <= event.timestamp < window.end]
    query = BucketQuery("acme", window, is_grouped=True, calendar=calendar)
    with closing(EventService(MemoryStore(), write_threads=1)) as service:
        service.ingest(events)
        by_hand: dict[Window, Counter[str]] = {}
        for event in inside:
            period = period_at(calendar, event.timestamp)
            by_hand.setdefault(period, Counter())[event.event_type] += 1
        page = service.buckets(query)
        assert {(row.start, row.end): row.counts for row in page.buckets} == {
            (period.start, period.end): counts for period, counts in by_hand.items()
        }
        assert list(service.all_buckets(query)) == list(page.buckets)

        rows: list[BucketCount] = []
        totals: set[int] = set()
        start = None
        while start is not None or not totals:
            part = service.buckets(replace(query, limit=limit, from_start=start))
            rows += part.buckets
            totals.add(part.total)
            start = part.next_start
        assert tuple(rows) == page.buckets

        for unit in Unit:
            calendar_of_unit = replace(calendar, unit=unit)
            totals.add(service.buckets(replace(query, calendar=calendar_of_unit)).total)
        hours = service.buckets(replace(query, calendar=None))
        assert totals | {hours.total} == {len(inside)}
