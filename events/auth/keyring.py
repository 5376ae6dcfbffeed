"""Who asks, and what they may do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from events.auth.keys import ApiKey, Right, is_good, key_id_of
from events.errors import NotAllowed, NotAuthenticated

#: Seconds for which a valid key is not looked up again, and a revoked one may still work.
CACHE_SECONDS = 5.0
#: One message for every cause: which part of a key is wrong helps only those who try keys.
NO_GOOD_KEY = "send a good API key in the header Authorization: Bearer events_…"


class KeyStore(Protocol):
    """Where keys are kept. Every read is strongly consistent."""

    def get(self, key_id: str) -> ApiKey | None: ...

    def add(self, key: ApiKey) -> bool:
        """Keep a new key; False, and nothing is changed, if another one has its id."""

    def keys(self) -> list[ApiKey]:
        """All keys, oldest first."""

    def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        """
        Take a key back, for ever; one that was revoked keeps the time of that.

        Returns:
            The key as it is now; None where there is no such key.
        """

    def forget(self, customer_id: str) -> None:
        """Delete every key that is bound to this customer."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who sends a request.

    Args:
        key_id: None where keys are off.
        customer_id: The one customer that all requests must be about; None means any.
    """

    key_id: str | None
    rights: frozenset[Right]
    customer_id: str | None

    def check_right(self, right: Right) -> None:
        """Raise `NotAllowed` where the caller may not do that about anybody."""
        if right not in self.rights:
            raise NotAllowed(f"this API key has no right to {right.value}")

    def check(self, right: Right, customer_id: str | None) -> None:
        """
        Refuse what the caller may not do.

        Args:
            customer_id: Whom it is about; None means all customers.

        Raises:
            NotAllowed: The caller lacks the right, or is bound to another customer.
        """
        self.check_right(right)
        if self.customer_id is not None and self.customer_id != customer_id:
            raise NotAllowed("this API key is for one customer, and this is not about that one")

    def check_each(self, right: Right, customers: Iterable[str]) -> None:
        """The same about each of several customers."""
        for customer_id in customers:
            self.check(right, customer_id)


#: The caller where keys are off.
ANYONE = Caller(key_id=None, rights=frozenset(Right), customer_id=None)


@dataclass(frozen=True, slots=True)
class _Cached:
    key: ApiKey
    until: float


class KeyRing:
    """
    Tells who sends a request by the key with it; safe to use from many threads.

    Args:
        store: Closed with the ring.
        cache_seconds: How long a good key is not looked up again, and so how long a revoked one
            may still work; 0 looks up every time.
        most_cached: Keys; past that the one that was put first is forgotten.
        now: For the expiry of keys, which is exact whatever is cached.
        clock: For the cache; never goes back.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        cache_seconds: float = CACHE_SECONDS,
        most_cached: int = 10_000,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._cache_seconds = cache_seconds
        self._most_cached = most_cached
        self._now = now
        self._clock = clock
        self._cache: dict[str, _Cached] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        self._store.close()

    def forget(self, customer_id: str) -> None:
        """Delete every key that is bound to this customer, who is erased."""
        self._store.forget(customer_id)
        with self._lock:
            for key_id, cached in list(self._cache.items()):
                if cached.key.customer_id == customer_id:
                    del self._cache[key_id]

    def authenticate(self, token: str | None) -> Caller:
        """
        Who sends this token.

        Raises:
            NotAuthenticated: There is none, or none that is good; which of these is not said.
            StoreUnavailable: The store could not be asked.
        """
        return self.known(token) or self.look_up(token)

    def known(self, token: str | None) -> Caller | None:
        """
        The same without waiting for the store; None where it must be asked.

        Raises:
            NotAuthenticated: It would know no better.
        """
        key_id = _checked_key_id(token)
        with self._lock:
            cached = self._cache.get(key_id)
            if cached is None:
                return None
            if cached.until <= self._clock():
                del self._cache[key_id]
                return None
        return self._caller(cached.key, token)

    def look_up(self, token: str | None) -> Caller:
        """The same, whatever is cached."""
        key_id = _checked_key_id(token)
        # From before the question: the key may be revoked while the answer is on its way.
        until = self._clock() + self._cache_seconds
        key = self._store.get(key_id)
        caller = self._caller(key, token)
        # Good ones alone: with those that do not exist anybody could fill the cache.
        if key is not None and self._cache_seconds > 0:
            with self._lock:
                self._cache.pop(key_id, None)
                while len(self._cache) >= self._most_cached:
                    del self._cache[next(iter(self._cache))]
                self._cache[key_id] = _Cached(key, until)
        return caller

    def _caller(self, key: ApiKey | None, token: str | None) -> Caller:
        if key is None or token is None or not is_good(key, token, self._now()):
            raise NotAuthenticated(NO_GOOD_KEY)
        return Caller(key.key_id, key.rights, key.customer_id)


def _checked_key_id(token: str | None) -> str:
    key_id = None if token is None else key_id_of(token)
    if key_id is None:
        raise NotAuthenticated(NO_GOOD_KEY)
    return key_id
