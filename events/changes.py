"""The list of changes: which days' counters may have changed since a point."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from events.errors import ChangesForgotten, InvalidWindow
from events.models import Change, ChangeCursor, ChangePage

#: A point later than this from now was not given by us.
_FAR = timedelta(minutes=10)


class Log(Protocol):
    """What is needed of the list. Every read is strongly consistent."""

    def known_from(self) -> datetime:
        """Start of the first slot about which everything is known."""

    def settled_until(self) -> datetime:
        """Start of the first slot that cannot be read yet."""

    def first_slot_for(self, at: datetime) -> datetime:
        """
        Start of the first slot in which a change that is made from `at` on can be listed.

        A change is listed in the slot in which it was sent, and may be made in the next.
        """

    def read(
        self, cursor: ChangeCursor, until: datetime, *, limit: int
    ) -> tuple[list[Change], ChangeCursor]:
        """
        Changes from a place on, in order, and the place after them.

        A page may be short, also empty, and not be the last.

        Args:
            until: Start of the first slot that is not read.
            limit: At most so many, from 1 on.
        """


def changes(log: Log, since: ChangeCursor | datetime | None, *, limit: int) -> ChangePage:
    """
    One page of changes, in order of the slots in which they were made.

    Whoever follows the pages, and reads the counters of each day listed after the day was listed to
    them, has missed no change that was made before `next_cursor.slot`.

    Args:
        since: The cursor of the page before; or an instant: all changes made from then on, and some
            from up to two slots before; or None: all that are still known.

    Raises:
        ChangesForgotten: Changes since then are not all known any more.
        InvalidWindow: `since` lies in the future.
    """
    known_from = log.known_from()
    settled_until = log.settled_until()
    if since is None:
        since = ChangeCursor(known_from)
    start = since if isinstance(since, datetime) else since.slot
    if start < known_from:
        raise ChangesForgotten(known_from)
    if start > settled_until + _FAR:
        raise InvalidWindow("lies in the future: give one that has passed", "since")
    if isinstance(since, datetime):
        # Not before `known_from`, or the next question, with this cursor, would be refused.
        cursor = ChangeCursor(max(log.first_slot_for(since), known_from))
    else:
        cursor = since
    if cursor.slot >= settled_until:
        return ChangePage((), cursor, has_more=False)
    found, following = log.read(cursor, settled_until, limit=limit)
    return ChangePage(tuple(found), following, has_more=following.slot < settled_until)
