"""Rate limits by API key and by address. Each process counts for itself."""

from __future__ import annotations

import ipaddress
import math
import time
from dataclasses import dataclass

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from events.errors import TooManyRequests

#: Requests without a valid API key, per address.
WRONG_KEYS_RATE = "60/minute"
#: An IPv6 subscriber usually has a network of this size, and may use any address in it.
_IPV6_PREFIX = 64


class RateLimit:
    """
    One limit, counted in fixed windows: up to twice the rate may pass within one period.

    Args:
        rate: Such as `100/second`. Empty means no limit.
        subject: What the limit is per, for the error message.
    """

    def __init__(self, rate: str, subject: str) -> None:
        self._rate = parse(rate) if rate else None
        self._message = (
            f"Rate limit exceeded: {rate.replace('/', ' requests/')} {subject}. "
            "Retry after the seconds in the Retry-After header."
        )
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def hit(self, caller: str) -> None:
        """Count one request; raises `TooManyRequests` if it exceeds the limit."""
        if self._rate is not None and not self._limiter.hit(self._rate, caller):
            raise self._error(caller)

    def check(self, caller: str) -> None:
        """Count nothing; raises `TooManyRequests` if one more request would exceed the limit."""
        if self._rate is not None and not self._limiter.test(self._rate, caller):
            raise self._error(caller)

    def _error(self, caller: str) -> TooManyRequests:
        assert self._rate is not None  # noqa: S101 - only called where there is a limit
        wait = self._limiter.get_window_stats(self._rate, caller).reset_time - time.time()
        return TooManyRequests(self._message, max(1, math.ceil(wait)))


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits of one process."""

    per_address: RateLimit
    per_key: RateLimit
    wrong_keys: RateLimit


def make_rate_limits(
    *, per_address: str, per_key: str, wrong_keys: str = WRONG_KEYS_RATE
) -> RateLimits:
    return RateLimits(
        RateLimit(per_address, "per address"),
        RateLimit(per_key, "per API key"),
        RateLimit(wrong_keys, "without a valid API key per address"),
    )


def address_of(client: tuple[str, int] | None) -> str:
    """The address that a limit counts: an IPv4 address, or an IPv6 network."""
    if client is None:  # a Unix socket
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
