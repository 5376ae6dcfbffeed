"""A store of API keys in memory, and a maker of keys."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from events.auth.keyring import KeyStore
from events.auth.keys import ApiKey, Right, new_key
from tests.support.factories import HOUR_ZERO


def a_key(
    *,
    name: str = "a test",
    rights: Collection[Right] = (Right.READ,),
    customer_id: str | None = None,
    created_at: datetime = HOUR_ZERO,
    expires_at: datetime | None = None,
) -> tuple[str, ApiKey]:
    """A token and its key, as `new_key` makes them."""
    return new_key(
        name=name,
        rights=rights,
        customer_id=customer_id,
        created_at=created_at,
        expires_at=expires_at,
    )


def with_other_secret(token: str) -> str:
    """A token that differs from a good one in its last character alone."""
    return token[:-1] + ("A" if token[-1] != "A" else "Q")


class MemoryKeyStore:
    """Keys in memory; `asked` are the ids that were looked up."""

    def __init__(self, *keys: ApiKey) -> None:
        self._lock = threading.Lock()
        self._keys = {key.key_id: key for key in keys}
        self.asked: list[str] = []
        self.is_closed = False

    def get(self, key_id: str) -> ApiKey | None:
        with self._lock:
            self.asked.append(key_id)
            return self._keys.get(key_id)

    def add(self, key: ApiKey) -> bool:
        with self._lock:
            return self._keys.setdefault(key.key_id, key) == key

    def keys(self) -> list[ApiKey]:
        with self._lock:
            return sorted(self._keys.values(), key=lambda key: (key.created_at, key.key_id))

    def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        with self._lock:
            key = self._keys.get(key_id)
            if key is not None and key.revoked_at is None:
                key = self._keys[key_id] = replace(key, revoked_at=at)
            return key

    def forget(self, customer_id: str) -> None:
        with self._lock:
            self._keys = {
                name: key for name, key in self._keys.items() if key.customer_id != customer_id
            }

    def close(self) -> None:
        self.is_closed = True


if TYPE_CHECKING:
    # mypy holds it to the protocol.
    _store: KeyStore = MemoryKeyStore()
