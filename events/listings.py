"""What this process knows to be listed, and for how long that holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

#: Customer, and day.
Day = tuple[str, str]
#: Days remembered as listed; past that all are listed again as they come.
_MOST_REMEMBERED = 50_000


class Listing(NamedTuple):
    """
    A day is listed in a slot.

    `until` is the slot's end on the store's clock. `until_clock` is the same on a clock that no one
    sets, but which stands still while a machine sleeps. Where both stood still, as those of a
    virtual machine may, the store's next answer tells; see `ChangeLog.confirm`.
    """

    until: datetime
    until_clock: float


class Listings:
    """
    The last listing of each day; safe to use from many threads.

    Args:
        now: The store's clock.
        clock: One that no one sets.
    """

    def __init__(self, now: Callable[[], datetime], clock: Callable[[], float]) -> None:
        self._now = now
        self._clock = clock
        #: Dictionary operations are atomic.
        self._listings: dict[Day, Listing] = {}

    def add(self, day: Day, listing: Listing) -> None:
        if len(self._listings) >= _MOST_REMEMBERED:
            self._listings.clear()
        self._listings[day] = listing

    def has(self, day: Day, *, grace: timedelta = timedelta()) -> bool:
        """Whether a day is listed in the present slot, or one that is not over by `grace`."""
        listing = self._listings.get(day)
        return (
            listing is not None
            and self._clock() < listing.until_clock + grace.total_seconds()
            and self._now() < listing.until + grace
        )

    def forget(self, day: Day) -> None:
        self._listings.pop(day, None)

    def forget_all(self) -> None:
        self._listings.clear()
