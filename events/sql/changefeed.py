"""The reading side of the change log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from events.errors import INVALID_CURSOR, InvalidWindow
from events.models import Change, ChangeCursor
from events.sql import queries
from events.sql.database import Database
from events.sql.tables import CHANGE_ORDER

#: A change has the time of its transaction's last statement, and is visible a little later.
_GRACE = timedelta(minutes=2)
_LOW = queries.names("low", CHANGE_ORDER)
_MICROSECOND = timedelta(microseconds=1)


class ChangeFeed:
    """
    A `queries.changes.Log`; safe to use from many threads.

    The change clock runs in the order of the commits. So a reader that has seen all changes up to
    one of its instants has seen every change that was committed before: no waiting is needed.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self.now = now

    def known_from(self) -> ChangeCursor:
        return ChangeCursor(self._clock()[0])

    def settled_until(self) -> datetime:
        return self._clock()[1] + _MICROSECOND

    def _clock(self) -> tuple[datetime, datetime]:
        created_at, changed_at = self._database.read(
            lambda connection: connection.execute(queries.CLOCK).one()
        )
        return created_at, changed_at

    def first_minute_for(self, at: datetime) -> datetime:
        return _minute_of(at) - _GRACE

    def read(
        self, cursor: ChangeCursor, until: datetime, *, limit: int
    ) -> tuple[list[Change], ChangeCursor]:
        """Read changes after a position; see `queries.changes.Log`."""
        parameters: dict[str, object] = {
            **dict(zip(_LOW, (cursor.minute, *_key_parts(cursor)), strict=True)),
            "until": until,
            "limit": limit,
        }
        rows = self._database.read(
            lambda connection: connection.execute(queries.CHANGED_DAYS, parameters).all()
        )
        changes = [Change(_minute_of(at), customer_id, day) for at, day, customer_id in rows]
        if len(rows) < limit:
            return changes, ChangeCursor(until)
        at, day, customer_id = rows[-1]
        return changes, ChangeCursor(at, 0, f"{day}#{customer_id}")


def _minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _key_parts(cursor: ChangeCursor) -> tuple[str, str]:
    """The day and customer that a cursor names, or two that sort before all."""
    if cursor.after_key is None:
        return "", ""
    day, separator, customer_id = cursor.after_key.partition("#")
    if not separator or cursor.shard:
        raise InvalidWindow(INVALID_CURSOR, "since")
    return day, customer_id
