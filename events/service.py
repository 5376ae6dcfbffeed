"""Use cases: take events in, count them, list customers, prove the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from events import verification
from events.errors import InvalidWindow
from events.models import (
    BucketCount,
    BucketPage,
    BucketQuery,
    CustomerPage,
    CustomerTotal,
    DayCounts,
    Difference,
    Event,
    Outcome,
    Verification,
    Window,
)
from events.windows import (
    ALL_TIME,
    HOUR,
    count_hours,
    day_of,
    floor_hour,
    hour_of_day,
    slices,
    split,
)
from events.windows import hours as hours_of
from events.writer import Ticket, Writer

#: The most hours that `is_filled` may ask for: a little more than a year.
MAX_FILLED_HOURS = 10_000
#: Raw events that one request to the store counts well; an hour with more is cut in slices.
_EVENTS_PER_SLICE = 4_000
_MAX_SLICES = 8
_CUSTOMERS_AT_A_TIME = 8
_MICROSECOND = timedelta(microseconds=1)


class Store(verification.Store, Protocol):
    """What the use cases need of a database. Every read is strongly consistent."""

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        """
        Store and count distinct events of one customer and UTC day, each at most once for ever.

        Whatever fails, counters and stored events agree at every moment.
        """

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        """How many events are stored in each window; all counted at once."""

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> Sequence[Mapping[str | None, int]]:
        """The same by event type; types without events are absent."""

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        """Listed customers with this prefix, in byte order, from the one after `after` on."""

    def check(self, *, patience_seconds: float = 0) -> None:
        """
        One cheap read, by default asked once; raises `StoreUnavailable` or `StoreRefused`.
        """

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        """
        Make what tables are not there, and wait until they can be used.

        Args:
            patience_seconds: How long to go on asking; None is the store's own.
        """

    def close(self) -> None:
        """Let go of threads and connections."""


class EventService:
    """
    The use cases on one store; safe to use from many threads.

    Args:
        store: Closed with the service.
        write_threads: Transactions in flight at a time.
    """

    def __init__(self, store: Store, *, write_threads: int) -> None:
        self._store = store
        self._writer = Writer(store.write, threads=write_threads)
        self._listing = ThreadPoolExecutor(_CUSTOMERS_AT_A_TIME, thread_name_prefix="list")

    def close(self) -> None:
        """Finish what was submitted, then let go of everything."""
        self._writer.close()
        self._listing.shutdown()
        self._store.close()

    def check(self, *, patience_seconds: float = 0) -> None:
        """One cheap read of the store; raises `StoreUnavailable` or `StoreRefused`."""
        self._store.check(patience_seconds=patience_seconds)

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        """Make what tables are not there, and wait until they can be used."""
        self._store.create_tables(patience_seconds=patience_seconds)

    # --- writing ----------------------------------------------------------------------------------

    def submit(self, events: Sequence[Event]) -> Ticket:
        """
        Begin to store and count events; the ticket's `wait` gives the receipt of each.

        Events of any customers and days, in any order, also ones stored long ago: those are
        duplicates, for ever.
        """
        return self._writer.submit(events)

    def ingest(self, events: Sequence[Event]) -> list[Outcome]:
        """
        Store and count events.

        Returns:
            The outcome of each, in order. When this returns, all are durable, counted, and seen
            by the next read.

        Raises:
            StoreUnavailable: Some may not be stored; the same call again is safe.
            StoreRefused: The store will not take some of them.
        """
        return self.submit(events).wait()

    def drain(self) -> None:
        """Return when all that was submitted is answered."""
        self._writer.drain()

    def drop_waiting(self) -> None:
        """Do not send what is submitted and not under way yet; those tickets fail."""
        self._writer.drop_waiting()

    # --- counting ---------------------------------------------------------------------------------

    def buckets(self, query: BucketQuery) -> BucketPage:
        """
        A customer's events by UTC hour.

        Whole hours come from the counters: the cost follows the days asked, not the events held.
        Only the at most two hours that the window cuts are counted from the raw events.

        Raises:
            InvalidWindow: More than `MAX_FILLED_HOURS` are to be filled, or the page starts
                outside the window.
            StoreUnavailable: The store did not answer in time.
        """
        window = query.window
        if query.is_filled and count_hours(window) > MAX_FILLED_HOURS:
            raise InvalidWindow(
                f"fill=zero gives at most {MAX_FILLED_HOURS:,} hours, and this window has "
                f"{count_hours(window):,}: ask for a shorter one, or leave fill out",
                "fill",
            )
        start = query.from_start
        if start is not None and (start != floor_hour(start) or not _touches(window, start)):
            raise InvalidWindow("is no hour of this window: use `next` as it was given", "cursor")

        found = self._count_hours(query)
        if query.is_filled:
            starts = list(hours_of(window))
        else:
            starts = sorted(hour for hour, count in found.counts.items() if count)
        if start is not None:
            starts = [hour for hour in starts if hour >= start]
        clipped = {floor_hour(piece.start) for piece in split(window).clipped}
        buckets = tuple(
            BucketCount(
                hour,
                found.counts.get(hour, 0),
                hour in clipped,
                found.by_type.get(hour, {}) if query.is_grouped else None,
            )
            for hour in starts[: query.limit]
        )
        return BucketPage(
            customer_id=query.customer_id,
            window=window,
            total=sum(found.counts.values()),
            last_ingested_at=found.last_ingested_at,
            buckets=buckets,
            next_start=starts[query.limit] if len(starts) > query.limit else None,
        )

    def _count_hours(self, query: BucketQuery) -> _Hours:
        found = _Hours()
        for day in self._days_of(query):
            found.add(day)
        parts = split(query.window)
        pieces = []
        for piece in parts.clipped:
            hour = floor_hour(piece.start)
            # An hour whose counter is zero has no events: events and counters are never apart.
            if found.counts.get(hour):
                pieces.append(piece)
        busy = [found.counts[floor_hour(piece.start)] for piece in pieces]
        found.keep(parts.whole)
        for piece, counts in zip(pieces, self._count_raw(query, pieces, busy), strict=True):
            found.put(floor_hour(piece.start), counts)
        return found

    def _days_of(self, query: BucketQuery) -> Iterator[DayCounts]:
        """The counters of the days that the window touches, hours outside it included."""
        window = query.window
        if window.start == window.end:
            return
        by_type = query.is_grouped or bool(query.event_types)
        first, last = day_of(window.start), day_of(window.end - _MICROSECOND)
        for day in self._store.day_counts(query.customer_id, first, last, by_type=by_type):
            if not query.event_types or day.event_type in query.event_types:
                yield day

    def _count_raw(
        self, query: BucketQuery, pieces: Sequence[Window], busy: Sequence[int]
    ) -> list[Mapping[str | None, int]]:
        """
        Count pieces of hours from the stored events, all at the same time.

        Args:
            busy: About how many events each piece's hour has.

        Returns:
            Counts by event type where types matter, else under None.
        """
        cuts: list[Window] = []
        owners: list[int] = []
        for place, (piece, count) in enumerate(zip(pieces, busy, strict=True)):
            parts = slices(piece, min(_MAX_SLICES, 1 + count // _EVENTS_PER_SLICE))
            cuts += parts
            owners += [place] * len(parts)
        totals: list[Counter[str | None]] = [Counter() for _ in pieces]
        found: Sequence[Mapping[str | None, int]] = []
        if query.is_grouped or query.event_types:
            found = self._store.count_events_by_type(query.customer_id, cuts) if cuts else []
        elif cuts:
            numbers = self._store.count_events(query.customer_id, cuts)
            found = [{None: number} for number in numbers]
        for owner, counts in zip(owners, found, strict=True):
            for event_type, count in counts.items():
                if not query.event_types or event_type in query.event_types:
                    totals[owner][event_type] += count
        return list(totals)

    def customers(
        self, *, window: Window = ALL_TIME, prefix: str = "", after: str | None = None, limit: int
    ) -> CustomerPage:
        """
        Customers in byte order of their ids, each with the number of its events in a window.

        A customer without events in the window is listed with 0.

        Args:
            after: The id that the page before ended with; None is the first page.
        """
        names = self._store.customers(prefix=prefix, after=after, limit=limit + 1)
        page = names[:limit]

        def total(customer_id: str) -> CustomerTotal:
            found = self._count_hours(BucketQuery(customer_id, window))
            return CustomerTotal(customer_id, sum(found.counts.values()))

        totals = tuple(self._listing.map(total, page))
        return CustomerPage(totals, page[-1] if len(names) > limit else None)

    # --- proving ----------------------------------------------------------------------------------

    def verify(
        self,
        *,
        customer_id: str | None = None,
        window: Window | None = None,
        is_repairing: bool = False,
        on_difference: Callable[[Difference], None] = lambda _: None,
    ) -> Verification:
        """Recount the raw events and compare; see `verification.verify`."""
        return verification.verify(
            self._store,
            customer_id=customer_id,
            window=window,
            is_repairing=is_repairing,
            on_difference=on_difference,
        )


@dataclass(slots=True)
class _Hours:
    """
    What is known of some hours: their counts, by event type where counters of types were added,
    and when any of the counters last changed. Hours without events may be absent.
    """

    counts: dict[datetime, int] = field(default_factory=dict)
    by_type: dict[datetime, dict[str, int]] = field(default_factory=dict)
    last_ingested_at: datetime | None = None

    def add(self, day: DayCounts) -> None:
        at = day.updated_at
        if at is not None and (self.last_ingested_at is None or at > self.last_ingested_at):
            self.last_ingested_at = at
        midnight = hour_of_day(day.day, 0)
        for hour, count in day.hours.items():
            start = midnight + hour * HOUR
            self.counts[start] = self.counts.get(start, 0) + count
            if day.event_type is not None:
                self.by_type.setdefault(start, {})[day.event_type] = count

    def keep(self, window: Window) -> None:
        """Forget the hours outside a window of whole hours."""
        if not self.counts or window.start <= min(self.counts) <= max(self.counts) < window.end:
            return
        outside = [hour for hour in self.counts if not window.start <= hour < window.end]
        for hour in outside:
            del self.counts[hour]
            self.by_type.pop(hour, None)

    def put(self, hour: datetime, counts: Mapping[str | None, int]) -> None:
        """Set the counts of one hour."""
        self.counts[hour] = sum(counts.values())
        types = sorted((kind, count) for kind, count in counts.items() if kind is not None)
        self.by_type[hour] = dict(types)


def _touches(window: Window, hour: datetime) -> bool:
    return floor_hour(window.start) <= hour < window.end
