"""The change log: which days' counters may have changed since a point."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from events.errors import ChangesForgotten, InvalidWindow
from events.models import Change, ChangeCursor, ChangePage

#: The service makes no cursor that lies further ahead.
_MAX_AHEAD = timedelta(minutes=10)


class Log(Protocol):
    """A change log. Every read is strongly consistent."""

    def known_from(self) -> ChangeCursor:
        """The position since which every change is known."""

    def now(self) -> datetime:
        """The present, by the clock of the log."""

    def settled_until(self) -> datetime:
        """Until when every change is logged, and can be read."""

    def first_minute_for(self, at: datetime) -> datetime:
        """
        Start of the first minute that may log a change made at `at` or later.

        A change is logged in the minute in which its request was sent, and made soon after.
        """

    def read(
        self, cursor: ChangeCursor, until: datetime, *, limit: int
    ) -> tuple[list[Change], ChangeCursor]:
        """
        Read changes after a position, in order; return them and the position after them.

        A page may be short or empty without being the last.

        Args:
            until: Start of the first minute that is not read.
            limit: At most this many changes; at least 1.
        """


def changes(log: Log, since: ChangeCursor | datetime | None, *, limit: int) -> ChangePage:
    """
    One page of changes, ordered by minute.

    A caller that follows the pages and reads the counters of each day after its page has missed no
    change of a minute before `next_cursor.minute`.

    Args:
        since: The previous page's cursor. Or a time: every change made since then, and some made up
            to three minutes earlier. Or None: every change that is known.

    Raises:
        ChangesForgotten: Some changes since then are no longer known.
        InvalidWindow: `since` is in the future.
    """
    known_from = log.known_from()
    settled_until = log.settled_until()
    if since is None:
        cursor = known_from
    else:
        _check(since, known_from, max(log.now(), settled_until))
        # Not before `known_from`, or the next call, with this cursor, would be refused.
        cursor = (
            since
            if isinstance(since, ChangeCursor)
            else max(ChangeCursor(log.first_minute_for(since)), known_from, key=_order)
        )
    if cursor.minute >= settled_until:
        return ChangePage((), cursor, has_more=False)
    page, next_cursor = log.read(cursor, settled_until, limit=limit)
    return ChangePage(tuple(page), next_cursor, has_more=next_cursor.minute < settled_until)


def _check(since: ChangeCursor | datetime, known_from: ChangeCursor, now: datetime) -> None:
    if isinstance(since, datetime):
        start, is_known = since, since >= known_from.minute
    else:
        start, is_known = since.minute, _order(since) >= _order(known_from)
    if not is_known:
        raise ChangesForgotten(known_from.minute)
    if start > now + _MAX_AHEAD:
        raise InvalidWindow("must not be in the future", "since")


def _order(cursor: ChangeCursor) -> tuple[datetime, int, str]:
    return cursor.minute, cursor.shard, cursor.after_key or ""
