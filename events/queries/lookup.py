"""Stored events, looked up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from events.models import EventPage, EventQuery, StoredEvent, Window

#: Stored events that one question looks through before it answers with a short page.
MOST_LOOKED_AT = 10_000
_MOST_AT_A_TIME = 1_000


class Store(Protocol):
    """What a look-up needs of a database. Every read is strongly consistent."""

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
            after: A key inside the window, from which on to go; None is its beginning.
            page_size: How many are read from the database at a time.

        Raises:
            InvalidWindow: `after` is no key inside the window.
        """


def find(store: Store, query: EventQuery) -> EventPage:
    """
    One page of a customer's stored events, voided ones too.

    Looks through at most `MOST_LOOKED_AT` events: a filter that leaves most of them out gives a
    short page, also an empty one, with more to come.

    Raises:
        InvalidWindow: The page starts outside the window.
    """
    is_filtered = bool(query.event_types) or query.transaction_id is not None
    found: list[StoredEvent] = []
    last: str | None = None
    items = store.stored_events(
        query.customer_id,
        query.window,
        after=query.after,
        is_newest_first=query.is_newest_first,
        page_size=min(_MOST_AT_A_TIME, MOST_LOOKED_AT if is_filtered else query.limit + 1),
    )
    for looked_at, (key, stored) in enumerate(items):
        if len(found) == query.limit or looked_at == MOST_LOOKED_AT:
            # There is more, though perhaps nothing that was asked for.
            return EventPage(tuple(found), last)
        last = key
        if _is_asked_for(stored, query):
            found.append(stored)
    return EventPage(tuple(found))


def _is_asked_for(stored: StoredEvent, query: EventQuery) -> bool:
    event = stored.event
    return (not query.event_types or event.event_type in query.event_types) and (
        query.transaction_id is None or event.transaction_id == query.transaction_id
    )
