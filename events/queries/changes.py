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

    def known_from(self) -> ChangeCursor:
        """The first place from which on everything is known."""

    def settled_until(self) -> datetime:
        """Start of the first slot that cannot be read yet."""

    def first_minute_for(self, at: datetime) -> datetime:
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
    them, has missed no change that was made before `next_cursor.minute`.

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
        cursor = known_from
    else:
        _check(since, known_from, settled_until)
        cursor = since if isinstance(since, ChangeCursor) else _at(log, since, known_from)
    if cursor.minute >= settled_until:
        return ChangePage((), cursor, has_more=False)
    found, following = log.read(cursor, settled_until, limit=limit)
    return ChangePage(tuple(found), following, has_more=following.minute < settled_until)


def _at(log: Log, since: datetime, known_from: ChangeCursor) -> ChangeCursor:
    # Not before `known_from`, or the next question, with this cursor, would be refused.
    return max(ChangeCursor(log.first_minute_for(since)), known_from, key=_order)


def _check(
    since: ChangeCursor | datetime, known_from: ChangeCursor, settled_until: datetime
) -> None:
    if isinstance(since, datetime):
        start, is_known = since, since >= known_from.minute
    else:
        start, is_known = since.minute, _order(since) >= _order(known_from)
    if not is_known:
        raise ChangesForgotten(known_from.minute)
    if start > settled_until + _FAR:
        raise InvalidWindow("lies in the future: give one that has passed", "since")


def _order(cursor: ChangeCursor) -> tuple[datetime, int, str]:
    return cursor.minute, cursor.shard, cursor.after_key or ""
