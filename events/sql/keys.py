"""The table of API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update

from events.domain.retries import RetryPolicy
from events.sql.database import Database, Transaction
from events.sql.engines import parse_url
from events.sql.tables import API_KEYS


class KeyTable:
    """Rows of API keys; safe to use from many threads."""

    def __init__(self, url: str, *, retry: RetryPolicy, may_make_tables: bool) -> None:
        self._database = Database(parse_url(url), retry=retry, may_make_tables=may_make_tables)
        self.close = self._database.close

    def rows(self, key_id: str | None = None) -> Sequence[RowMapping]:
        """All rows, oldest first, or those with an id."""
        query = select(API_KEYS).order_by(API_KEYS.c.created_at, API_KEYS.c.key_id)
        if key_id is not None:
            query = query.where(API_KEYS.c.key_id == key_id)
        return self._database.read(lambda connection: connection.execute(query).mappings().all())

    def insert(self, values: Mapping[str, Any]) -> bool:
        """Insert a row; False, and nothing changes, if its id exists."""

        def work(transaction: Transaction) -> bool:
            execute = transaction.connection.execute
            if execute(select(API_KEYS).where(API_KEYS.c.key_id == values["key_id"])).first():
                return False
            execute(insert(API_KEYS).values(values))
            transaction.has_written = True
            return True

        return self._database.write(work)

    def revoke(self, key_id: str, at: datetime) -> None:
        """Set the time of a key that is not revoked."""
        revoking = update(API_KEYS).where(
            API_KEYS.c.key_id == key_id, API_KEYS.c.revoked_at.is_(None)
        )
        self._execute(revoking.values(revoked_at=at))

    def forget(self, customer_id: str) -> None:
        self._execute(delete(API_KEYS).where(API_KEYS.c.customer_id == customer_id))

    def _execute(self, statement: Any) -> None:
        def work(transaction: Transaction) -> None:
            result = transaction.connection.execute(statement)
            transaction.has_written = result.rowcount > 0

        self._database.write(work)
