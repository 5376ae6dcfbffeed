"""The time as the store has it, so that machines agree on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

log = logging.getLogger(__name__)

#: Less is not corrected: the store's answers give whole seconds.
_TOLERANCE = timedelta(seconds=2)
_SECOND = timedelta(seconds=1)


class StoreClock:
    """
    A clock that follows the `Date` of the store's answers; safe to use from many threads.

    Within `_TOLERANCE` of the store, give or take how long the last answer took.

    Args:
        now: The clock of this machine; aware, in UTC.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._ahead = timedelta()

    def now(self) -> datetime:
        return self.corrected(self.local())

    def local(self) -> datetime:
        """What this machine's own clock says, for `learn`."""
        return self._now()

    def corrected(self, local: datetime) -> datetime:
        """What a moment of this machine's own clock was, by all that was learned until now."""
        return local + self._ahead

    def learn(
        self, date: str | None, *, asked_at: datetime | None = None, answered_at: datetime
    ) -> bool:
        """
        Look at the `Date` of an answer (RFC 9110, 6.6.1), and follow it if this clock is off.

        Args:
            date: None, or what is no date, teaches nothing.
            asked_at: As `local` said before the request; without it the clock is not set back.
            answered_at: As `local` said after it.

        Returns:
            Whether the clock was right.
        """
        try:
            at = parsedate_to_datetime(date or "")
        except ValueError:
            return True
        if at.tzinfo is None:  # "-0000", which HTTP does not send
            return True
        # The store's time was in [at, at + 1 s) at some moment between the two.
        is_behind = at > answered_at + self._ahead + _TOLERANCE
        is_ahead = asked_at is not None and at + _SECOND < asked_at + self._ahead - _TOLERANCE
        if is_behind or is_ahead:
            self._ahead = at + _SECOND / 2 - answered_at
            log.warning(
                "the clock here and the store's differ by %s: using the store's", self._ahead
            )
        return not (is_behind or is_ahead)
