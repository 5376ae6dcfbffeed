"""Authentication by API key, authorization, and rate limits of each request."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.concurrency import run_in_threadpool

from events.api.dependencies import from_state
from events.auth.keyring import ANYONE, Caller, KeyRing
from events.auth.keys import Right
from events.errors import NotAuthenticated, TooManyRequests

#: An IPv6 subscriber usually has a network of this size, and may use any address in it.
_IPV6_PREFIX = 64
_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    bearerFormat="events_<key id>_<secret>",
    description="A key created with `python -m events keys create`. Required if the service runs "
    "with `EVENTS_API_KEYS=on`.",
)


#: The API keys; None if they are off.
KeyRingDep = Annotated[KeyRing | None, Depends(from_state("key_ring"))]


async def get_caller(
    request: Request,
    key_ring: KeyRingDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> Caller:
    """
    The sender of a request. FastAPI calls this once per request.

    Raises:
        TooManyRequests: The address or the key is over a limit.
        NotAuthenticated: The key is missing or invalid.
        StoreUnavailable: The store of keys does not answer.
    """
    limits: RateLimits = request.app.state.rate_limits
    address = address_of(request.scope.get("client"))
    limits.per_address.hit(address)
    if key_ring is None:
        return ANYONE
    token = None if credentials is None else credentials.credentials
    try:
        caller = key_ring.known(token)
        if caller is None:
            # Before the store is asked, so that guessing keys cannot overload the store.
            limits.wrong_keys.check(address)
            caller = await run_in_threadpool(key_ring.look_up, token)
    except NotAuthenticated:
        limits.wrong_keys.hit(address)
        raise
    request.state.key_id = caller.key_id  # for the access log
    limits.per_key.hit(str(caller.key_id))
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]


def allowed(
    right: Right, *, about: Literal["customer", "all", "each"]
) -> Callable[..., Awaitable[None]]:
    """
    A dependency that raises `NotAllowed` unless the caller has a right.

    Put it in the `dependencies` of a route: they run before its parameters are read. FastAPI reads
    a body that is a parameter with a model before any dependency.

    Args:
        about: `customer`: the customer in the path. `all`: all customers. `each`: only the right
            is checked, and the route checks each customer in the body with `CallerDep`.
    """

    async def check(request: Request, caller: CallerDep) -> None:
        if about == "each":
            caller.check_right(right)
        else:
            caller.check(right, request.path_params["customer_id"] if about == "customer" else None)

    return check


# --- rate limits: each process counts for itself --------------------------------------------------


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


class RateLimits:
    """The limits of one process."""

    def __init__(self, *, per_address: str, per_key: str, wrong_keys: str = "60/minute") -> None:
        self.per_address = RateLimit(per_address, "per address")
        self.per_key = RateLimit(per_key, "per API key")
        self.wrong_keys = RateLimit(wrong_keys, "without a valid API key per address")


def address_of(client: tuple[str, int] | None) -> str:
    """The address that a limit counts: an IPv4 address, or an IPv6 network."""
    if client is None:  # a Unix socket
        return ""
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return client[0]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(address), _IPV6_PREFIX), strict=False))
        address = address.ipv4_mapped
    return str(address)
