"""Look up a customer's stored events, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from events.models import StoredEvent, Window

#: Stored events that one request reads before it answers with a short page.
MOST_LOOKED_AT = 10_000
_MOST_AT_A_TIME = 1_000


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A question about one customer's stored events."""

    customer_id: str
    window: Window
    #: Return only these; empty means all.
    event_types: frozenset[str] = frozenset()
    #: Return only this one; None means all.
    transaction_id: str | None = None
    #: Go from the end of the window to its start.
    is_newest_first: bool = False
    #: Events per page, at least 1.
    limit: int = 100
    #: Key of the previous page's last event; None is the first page.
    after: str | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """One page in order of time; the next one starts after the key `next_after`, if not None."""

    events: tuple[StoredEvent, ...]
    next_after: str | None = None


class Store(Protocol):
    """The reads that a look-up needs. Every read is strongly consistent."""

    def stored_events(
        self,
        customer_id: str,
        window: Window,
        *,
        after: str | None,
        is_newest_first: bool,
        page_size: int,
    ) -> Iterator[tuple[str, StoredEvent]]:
        """
        All events stored in a window with their keys, including voided events.

        Args:
            after: Start after this key of the range; None starts at the beginning.
            page_size: Events read from the database at a time.

        Raises:
            InvalidWindow: `after` is not a key inside the range.
        """


def find(store: Store, query: EventQuery) -> EventPage:
    """
    One page of a customer's stored events, including voided events.

    Reads at most `MOST_LOOKED_AT` events. So if a filter matches few events, a page may be short or
    empty and not be the last.

    Raises:
        InvalidWindow: The page starts outside the range.
    """
    is_filtered = bool(query.event_types) or query.transaction_id is not None
    events: list[StoredEvent] = []
    last: str | None = None
    items = store.stored_events(
        query.customer_id,
        query.window,
        after=query.after,
        is_newest_first=query.is_newest_first,
        page_size=min(_MOST_AT_A_TIME, MOST_LOOKED_AT if is_filtered else query.limit + 1),
    )
    for number, (key, stored) in enumerate(items):
        if len(events) == query.limit or number == MOST_LOOKED_AT:
            return EventPage(tuple(events), last)
        last = key
        if query.event_types and stored.event.event_type not in query.event_types:
            continue
        if query.transaction_id in (None, stored.event.transaction_id):
            events.append(stored)
    return EventPage(tuple(events))
