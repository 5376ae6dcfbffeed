"""API keys on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from events.auth.keys import ApiKey, Right
from events.domain.retries import RetryPolicy
from events.sql.keys import KeyTable


class SqlKeyStore:
    """API keys in the database of the events; safe to use from many threads."""

    def __init__(self, url: str, *, retry: RetryPolicy, may_make_tables: bool) -> None:
        self._table = KeyTable(url, retry=retry, may_make_tables=may_make_tables)
        self.close = self._table.close
        self.forget = self._table.forget

    def get(self, key_id: str) -> ApiKey | None:
        return next(map(_key_of, self._table.rows(key_id)), None)

    def add(self, key: ApiKey) -> bool:
        rights = " ".join(sorted(right.value for right in key.rights))
        is_new = self._table.insert(
            {name: getattr(key, name) for name in key.__slots__} | {"rights": rights}
        )
        return is_new or self.get(key.key_id) == key

    def keys(self) -> list[ApiKey]:
        return list(map(_key_of, self._table.rows()))

    def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        self._table.revoke(key_id, at)
        return self.get(key_id)


def _key_of(row: Mapping[Any, Any]) -> ApiKey:
    return ApiKey(**{**row, "rights": frozenset(map(Right, row["rights"].split()))})
