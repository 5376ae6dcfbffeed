"""Authentication by API key, authorization, and rate limits of each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from events.api.ratelimits import RateLimits, address_of
from events.auth.keyring import ANYONE, Caller, KeyRing
from events.auth.keys import Right
from events.errors import NotAuthenticated

#: What a route with `allowed` may answer beside its own errors, for its description.
REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)

_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    bearerFormat="events_<key id>_<secret>",
    description="A key created with `python -m events keys create`. Required if the service runs "
    "with `EVENTS_API_KEYS=on`.",
)


async def get_key_ring(request: Request) -> KeyRing | None:
    """The API keys; None if they are off."""
    key_ring: KeyRing | None = request.app.state.key_ring
    return key_ring


KeyRingDep = Annotated[KeyRing | None, Depends(get_key_ring)]


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
