"""Reads of events, counters and customers; `service.Store` documents them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Select

from events.datamodels import event_key, event_of
from events.domain.windows import ALL_TIME, LATEST
from events.errors import INVALID_CURSOR, InvalidWindow
from events.models import DayCounts, Event, StoredEvent, Window
from events.sql import queries
from events.sql.database import Database

#: Rows read at a time: no connection is held between two pages.
_ROWS_PER_PAGE = 5_000
#: After every possible event type.
_LAST_TYPE = "\U0010ffff" * 257

_LOW, _HIGH = queries.names("low", queries.KEY), queries.names("high", queries.KEY)
_LOW_DAY = queries.names("low", queries.COUNTS_ORDER)


class Reader:
    """Reads of one database; safe to use from many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _rows(self, query: Select[Any], **parameters: object) -> Sequence[Sequence[Any]]:
        return self._database.read(lambda connection: connection.execute(query, parameters).all())

    # --- counters ---------------------------------------------------------------------------------

    def day_counts(
        self,
        customer_id: str,
        first_day: str,
        last_day: str,
        *,
        by_type: bool,
        page_size: int | None = None,
    ) -> Iterator[DayCounts]:
        limit = page_size or _ROWS_PER_PAGE
        low: Sequence[Any] = ("", "")
        while True:
            page = self._rows(
                queries.DAY_COUNTS,
                customer_id=customer_id,
                by_type=by_type,
                first_day=first_day,
                last_day=last_day,
                limit=limit,
                **dict(zip(_LOW_DAY, low, strict=True)),
            )
            for row in page:
                day, event_type, updated_at = row[:3]
                counts = {hour: count for hour, count in enumerate(row[3:]) if count}
                yield DayCounts(
                    customer_id, day, event_type if by_type else None, counts, updated_at
                )
            if len(page) < limit:
                return
            low = page[-1][:2]

    # --- events -----------------------------------------------------------------------------------

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        def count(connection: Connection) -> list[int]:
            return [
                connection.execute(queries.COUNT_EVENTS, _range(customer_id, window)).scalar_one()
                for window in windows
            ]

        return self._database.read(count)

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> list[Mapping[str | None, int]]:
        def count(connection: Connection) -> list[Mapping[str | None, int]]:
            results = [
                connection.execute(queries.COUNT_BY_TYPE, _range(customer_id, window))
                for window in windows
            ]
            return [{row[0]: row[1] for row in result} for result in results]

        return self._database.read(count)

    def counted_events(
        self,
        customer_id: str,
        window: Window | None = None,
        *,
        on_foreign: Callable[[str], None] = lambda _: None,  # noqa: ARG002 - every row is an event
    ) -> Iterator[Event]:
        between = _range(customer_id, window or ALL_TIME)
        for stored in self._events(queries.COUNTED_EVENTS, between):
            yield stored.event

    def stored_events(
        self,
        customer_id: str,
        window: Window,
        *,
        after: str | None,
        is_newest_first: bool,
        page_size: int,
    ) -> Iterator[tuple[str, StoredEvent]]:
        query = queries.NEWEST_EVENTS if is_newest_first else queries.OLDEST_EVENTS
        between = _range(customer_id, window)
        if after is not None:
            bound = _HIGH if is_newest_first else _LOW
            between |= zip(bound, _key_of(customer_id, after, window), strict=True)
        for stored in self._events(
            query, between, is_newest_first=is_newest_first, page_size=page_size
        ):
            yield event_key(stored.event), stored

    def _events(
        self,
        query: Select[Any],
        between: dict[str, object],
        *,
        is_newest_first: bool = False,
        page_size: int = _ROWS_PER_PAGE,
    ) -> Iterator[StoredEvent]:
        """The events of a range in the order of their keys, page by page."""
        while True:
            page = self._rows(query, **between, limit=page_size)
            for row in page:
                yield StoredEvent(Event(row[0], row[2], row[3], row[1]), *row[4:])
            if len(page) < page_size:
                return
            between |= zip(_HIGH if is_newest_first else _LOW, page[-1][1:4], strict=True)

    # --- customers --------------------------------------------------------------------------------

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        first = max(prefix, after or "")
        rows = self._rows(queries.CUSTOMERS_FROM, first=first, limit=limit + 1)
        # Those that start with the prefix come first.
        found = [name for (name,) in rows if name.startswith(prefix) and name != after]
        return found[:limit]

    def is_listed(self, customer_id: str) -> bool:
        return bool(self._rows(queries.CUSTOMER, customer_id=customer_id))

    def stored_customers(self) -> Iterator[str]:
        """Every customer with an event or a counter, once, in order; remembers none of them."""
        last = ""
        while True:
            rows = [
                *self._rows(queries.NEXT_WITH_EVENTS, after=last),
                *self._rows(queries.NEXT_WITH_COUNTS, after=last),
            ]
            if not rows:
                return
            last = min(name for (name,) in rows)
            yield last


def _range(customer_id: str, window: Window) -> dict[str, object]:
    """Parameters for the events of a window."""
    # No event has an empty type: every event at the end is after this bound, except at `LATEST`,
    # which the window includes, because no later end exists.
    last_type = _LAST_TYPE if window.end == LATEST else ""
    low = zip(_LOW, (window.start, "", ""), strict=True)
    high = zip(_HIGH, (window.end, last_type, ""), strict=True)
    return {"customer_id": customer_id, **dict(low), **dict(high)}


def _key_of(customer_id: str, after: str, window: Window) -> tuple[object, ...]:
    """The key that a cursor names; raises `InvalidWindow`."""
    with suppress(ValueError):
        _, event_type, transaction_id, at = event_of(customer_id, after)
        if window.start <= at < window.end or at == window.end == LATEST:
            return at, event_type, transaction_id
    raise InvalidWindow(INVALID_CURSOR, "cursor")
