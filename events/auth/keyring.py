"""Who sends a request, and what they may do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from events.auth.keys import ApiKey, Right, is_valid, key_id_of
from events.errors import NotAllowed, NotAuthenticated

#: One message for every cause: naming the cause would help only someone who guesses keys.
INVALID_KEY = "missing or invalid API key: send the header Authorization: Bearer events_…"


class KeyStore(Protocol):
    """Where keys are kept. Every read is strongly consistent."""

    def get(self, key_id: str) -> ApiKey | None: ...

    def add(self, key: ApiKey) -> bool:
        """Store a new key. False, and nothing changes, if another key has its id."""

    def keys(self) -> list[ApiKey]:
        """All keys, oldest first."""

    def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        """
        Revoke a key forever. A key that is already revoked keeps its time.

        Returns:
            The key as it is now; None if it does not exist.
        """

    def forget(self, customer_id: str) -> None:
        """Delete every key for this customer."""

    def close(self) -> None:
        """Close connections."""


@dataclass(frozen=True, slots=True)
class Caller:
    """
    The sender of a request.

    Args:
        key_id: None if keys are off.
        customer_id: The only customer that requests may be about; None means any.
    """

    key_id: str | None
    rights: frozenset[Right]
    customer_id: str | None

    def check_right(self, right: Right) -> None:
        """Raise `NotAllowed` if the caller lacks a right."""
        if right not in self.rights:
            raise NotAllowed(f"this API key does not have the right {right.value!r}")

    def check(self, right: Right, customer_id: str | None) -> None:
        """
        Check a right for one customer.

        Args:
            customer_id: None means all customers.

        Raises:
            NotAllowed: The caller lacks the right, or its key is for another customer.
        """
        self.check_right(right)
        if self.customer_id is not None and self.customer_id != customer_id:
            raise NotAllowed("this API key is for another customer")

    def check_each(self, right: Right, customers: Iterable[str]) -> None:
        for customer_id in customers:
            self.check(right, customer_id)


#: The caller if keys are off.
ANYONE = Caller(key_id=None, rights=frozenset(Right), customer_id=None)


@dataclass(kw_only=True, eq=False)
class KeyRing:
    """
    Authenticates callers by API key. Safe to use from many threads.

    Args:
        store: Closed with the key ring.
        cache_seconds: How long a valid key is not looked up again, and a revoked one may still
            work; 0 means that every request looks it up.
        max_cached: Keys in the cache; beyond that the oldest entry is dropped.
        now: For the expiry of keys, which is exact also for cached keys.
        clock: For the cache; never goes back.
    """

    store: KeyStore = field(kw_only=False)
    cache_seconds: float = 5.0
    max_cached: int = 10_000
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    #: By id, a valid key and until when it is not looked up again.
    _cache: dict[str, tuple[ApiKey, float]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def close(self) -> None:
        self.store.close()

    def forget(self, customer_id: str) -> None:
        """Delete every key for a customer, who is being erased."""
        self.store.forget(customer_id)
        with self._lock:
            self._cache = {
                key_id: (key, until)
                for key_id, (key, until) in self._cache.items()
                if key.customer_id != customer_id
            }

    def known(self, token: str | None) -> Caller | None:
        """
        The sender of a token from the cache; None if the store must be asked.

        Raises:
            NotAuthenticated: The token is missing or invalid, whatever the store says.
        """
        key_id = _key_id(token)
        with self._lock:
            key, until = self._cache.get(key_id, (None, 0.0))
            if key is None:
                return None
            if until <= self.clock():
                del self._cache[key_id]
                return None
        return self._caller(key, token)

    def look_up(self, token: str | None) -> Caller:
        """
        The sender of a token, from the store.

        Raises:
            NotAuthenticated: The token is missing, unknown, expired or revoked.
            StoreUnavailable: The store did not answer.
        """
        key_id = _key_id(token)
        # Counted from before the read: the key may be revoked while the answer is on its way.
        until = self.clock() + self.cache_seconds
        key = self.store.get(key_id)
        caller = self._caller(key, token)
        # Only valid keys: otherwise anyone could fill the cache with keys that do not exist.
        if key is not None and self.cache_seconds > 0:
            with self._lock:
                self._cache.pop(key_id, None)
                while len(self._cache) >= self.max_cached:
                    del self._cache[next(iter(self._cache))]
                self._cache[key_id] = (key, until)
        return caller

    def _caller(self, key: ApiKey | None, token: str | None) -> Caller:
        if key is None or token is None or not is_valid(key, token, self.now()):
            raise NotAuthenticated(INVALID_KEY)
        return Caller(key.key_id, key.rights, key.customer_id)


def _key_id(token: str | None) -> str:
    key_id = None if token is None else key_id_of(token)
    if key_id is None:
        raise NotAuthenticated(INVALID_KEY)
    return key_id
