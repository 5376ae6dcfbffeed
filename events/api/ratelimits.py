"""Limits on requests, by key and by address; each process counts for itself."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from events.config import Settings
from events.errors import TooManyRequests

#: Requests without a valid API key per address and process.
WRONG_KEYS_RATE = "60/minute"
#: Windows that one limit counts at a time: about 5 MB.
MOST_WINDOWS = 20_000
#: One subscriber has at least this much of IPv6, and may ask from any address in it.
_IPV6_PREFIX = 64


class _Windows(Storage):
    """
    A number for each key, until its window ends.

    Not `MemoryStorage` of the library: it starts a thread every 10 ms to look through all keys,
    and keeps each key of a moving window for ever. Here the windows of one limit are all as long,
    so those that began first end first, and there are never more than `MOST_WINDOWS`: past that
    the oldest is forgotten, which gives its owner a new one.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        #: Number, and when its window ends; the oldest first.
        self._windows: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        with self._lock:
            self._forget()
            number, end = self._windows.get(key, (0, self._clock() + expiry))
            if not number and len(self._windows) >= MOST_WINDOWS:
                del self._windows[next(iter(self._windows))]
            self._windows[key] = number + amount, end
            return number + amount

    def get(self, key: str) -> int:
        with self._lock:
            self._forget()
            return self._windows.get(key, (0, 0.0))[0]

    def get_expiry(self, key: str) -> float:
        with self._lock:
            return self._windows.get(key, (0, self._clock()))[1]

    def _forget(self) -> None:
        now = self._clock()
        while self._windows and next(iter(self._windows.values()))[1] <= now:
            del self._windows[next(iter(self._windows))]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        with self._lock:
            number = len(self._windows)
            self._windows.clear()
            return number

    def clear(self, key: str) -> None:
        with self._lock:
            self._windows.pop(key, None)

    def __len__(self) -> int:
        return len(self._windows)


class RateLimit:
    """
    One limit; safe to use from many threads.

    A window begins with the first request and ends a second, minute, hour or day later. A fixed
    one, because it is one number for each caller, where a moving one keeps the time of each
    request; the price is that up to twice the rate may pass in the time of one window.

    Args:
        rate: Such as `100/second`; empty is no limit.
        of: What is limited, for the message.
    """

    def __init__(self, rate: str, of: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate: RateLimitItem | None = parse(rate) if rate else None
        self._message = f"no more {of} than {rate}: wait as long as Retry-After says"
        self._clock = clock
        self.windows = _Windows(clock)
        self._limiter = FixedWindowRateLimiter(self.windows)

    def hit(self, who: str) -> None:
        """Count one; raises `TooManyRequests` where it is one too many."""
        if self._rate is not None and not self._limiter.hit(self._rate, who):
            raise self._too_many(self._rate, who)

    def check(self, who: str) -> None:
        """Count nothing; raises `TooManyRequests` where one more would be too many."""
        if self._rate is not None and not self._limiter.test(self._rate, who):
            raise self._too_many(self._rate, who)

    def _too_many(self, rate: RateLimitItem, who: str) -> TooManyRequests:
        wait = self._limiter.get_window_stats(rate, who).reset_time - self._clock()
        return TooManyRequests(self._message, max(1, math.ceil(wait)))


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits of one process. More processes allow as many times more."""

    per_address: RateLimit
    per_key: RateLimit
    of_wrong_keys: RateLimit

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            RateLimit(settings.events_rate_per_address, "requests from one address"),
            RateLimit(settings.events_rate_per_key, "requests with one API key"),
            RateLimit(
                WRONG_KEYS_RATE,
                "requests without a good API key from one address",
            ),
        )


def address_of(client: tuple[str, int] | None) -> str:
    """Whom a limit on addresses counts as one: an address, in IPv6 the network it is in."""
    if client is None:  # over a Unix socket
        return ""
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return client[0]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _IPV6_PREFIX), strict=False))
