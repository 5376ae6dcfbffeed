"""Who asks: the key in a request, what it may do, and how often it may ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from events.api.ratelimits import RateLimits, address_of
from events.auth.keyring import ANYONE, Caller, KeyRing
from events.auth.keys import Right
from events.config import Settings
from events.errors import NotAuthenticated

#: What a route with `allowed` may answer beside its own errors, for its description.
REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)

_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    bearerFormat="events_<key id>_<secret>",
    description="A key made with `python -m events keys create`. Needed where the service runs "
    "with `EVENTS_API_KEYS=on`.",
)


@contextmanager
def guard(app: FastAPI, settings: Settings, key_ring: KeyRing | None) -> Iterator[None]:
    """Have `app` check API keys and rate limits while this is open; closes the key ring."""
    app.state.key_ring = key_ring
    app.state.rate_limits = RateLimits.of(settings)
    try:
        yield
    finally:
        if key_ring is not None:
            key_ring.close()


async def get_caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> Caller:
    """
    Who sends a request; once for each request, however often it is asked for.

    Raises:
        TooManyRequests: The address or the key asks too often, or the address without a good key.
        NotAuthenticated: Keys are on, and there is no good one.
        StoreUnavailable: The store of keys does not answer.
    """
    limits: RateLimits = request.app.state.rate_limits
    key_ring: KeyRing | None = request.app.state.key_ring
    address = address_of(request.scope.get("client"))
    limits.per_address.hit(address)
    if key_ring is None:
        return ANYONE
    token = None if credentials is None else credentials.credentials
    try:
        caller = key_ring.known(token)
        if caller is None:
            # Before the store is asked: guesses must not make it busy.
            limits.of_wrong_keys.check(address)
            caller = await run_in_threadpool(key_ring.look_up, token)
    except NotAuthenticated:
        limits.of_wrong_keys.hit(address)
        raise
    request.state.key_id = caller.key_id  # for the log
    limits.per_key.hit(str(caller.key_id))
    return caller


async def get_key_ring(request: Request) -> KeyRing | None:
    """What knows the keys; None where they are off."""
    key_ring: KeyRing | None = request.app.state.key_ring
    return key_ring


KeyRingDep = Annotated[KeyRing | None, Depends(get_key_ring)]
CallerDep = Annotated[Caller, Depends(get_caller)]


def allowed(
    right: Right, *, about: Literal["customer", "all", "each"]
) -> Callable[..., Awaitable[None]]:
    """
    A dependency that lets through whoever may do that, and raises `NotAllowed` for others.

    Put it among the `dependencies` of a route: those come before its parameters. A body that the
    framework itself is to read (a parameter with a model) is read before any dependency.

    Args:
        about: `customer`: the one in the path. `all`: all customers. `each`: only the right is
            looked at, and the route asks `CallerDep` about each customer that it meets.
    """

    async def check(request: Request, caller: CallerDep) -> None:
        if about == "each":
            caller.check_right(right)
        else:
            caller.check(right, request.path_params["customer_id"] if about == "customer" else None)

    return check
