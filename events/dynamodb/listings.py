"""What this process knows to be listed, and for how long that holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

#: Customer, and day.
Day = tuple[str, str]
#: Days remembered as listed; past that all are listed again as they come.
_MOST_REMEMBERED = 50_000
#: Days noted as expected.
_MOST_EXPECTED = 10_000


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
        #: Days that will be changed soon, in that order.
        self._expected: dict[Day, None] = {}
        self._lock = threading.Lock()

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

    def expect(self, days: Iterable[Day]) -> None:
        """Note days that will be changed soon; past a bound they are not noted."""
        with self._lock:
            if len(self._expected) < _MOST_EXPECTED:
                self._expected.update(dict.fromkeys(days))

    def take(self, day: Day, most: int) -> list[Day]:
        """This day, and the first of those expected that are not listed, of all at most so many."""
        with self._lock:
            self._expected.pop(day, None)
            taken = [day]
            while self._expected and len(taken) < most:
                other = next(iter(self._expected))
                del self._expected[other]
                if not self.has(other):
                    taken.append(other)
        return taken

    def drop_expected(self, day: Day) -> None:
        """Note that a day is being changed: it is expected no more."""
        with self._lock:
            self._expected.pop(day, None)

    def forget(self, day: Day) -> None:
        self._listings.pop(day, None)

    def forget_all(self) -> None:
        self._listings.clear()
