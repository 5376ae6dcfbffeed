"""Creating missing tables, where that loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from events.domain.retries import RetryPolicy
from events.errors import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

_TABLE_WAIT_SECONDS = 60.0
#: Table statuses (API Reference, TableDescription).
_USABLE = ("ACTIVE", "UPDATING")


class MissingTable(StoreRefused):
    """A table does not exist and may not be created."""


class TableExists(StoreRefused):
    """A table to be created already exists."""


@dataclass(eq=False)
class TableMaker:
    """Creates tables; safe to use from many threads."""

    client: DynamoDBClient
    #: `Requests.retry`.
    send: Callable[..., Any]
    #: Tables that belong together: none is created beside one that holds items.
    definitions: Sequence[CreateTableInputTypeDef]
    #: Tables whose items expire, with the attribute that holds the time. They can be created at any
    #: time, because an empty one hides nothing.
    expiring: Mapping[str, str]

    def __post_init__(self) -> None:
        names = [definition["TableName"] for definition in self.definitions]
        self._partners = [name for name in names if name not in self.expiring]
        self.names = " or ".join(self._partners)

    def create(self, retry: RetryPolicy, *, only_expiring: bool = False) -> None:
        """
        Create missing tables and wait until all are usable.

        Raises:
            MissingTable: Other tables than expiring ones are missing, and `only_expiring`.
            StoreRefused: A table is missing beside one that holds items.
        """
        tables = {definition["TableName"]: definition for definition in self.definitions}
        # Ask before creating: a process without the right to create can use existing tables.
        status = {table: self._status(table, retry) for table in tables}
        missing = [table for table in tables if status[table] is None]
        if only_expiring and not (missing and self.expiring.keys() >= set(missing)):
            raise MissingTable(f"table not found: {self.names}")
        for table in missing:
            if table not in self.expiring:
                self._check_partners(table, retry)
            with suppress(TableExists):
                self.send(self.client.create_table, retry=retry, **tables[table])
        deadline = time.monotonic() + _TABLE_WAIT_SECONDS
        for table in tables:
            while status[table] not in _USABLE:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(f"the table {table} is still being created")
                time.sleep(0.2 if status[table] else 0)
                status[table] = self._status(table, retry)
        for table, attribute in self.expiring.items():
            self._expire_items(table, attribute, retry)

    def _status(self, table: str, retry: RetryPolicy) -> str | None:
        try:
            answer = self.send(self.client.describe_table, retry=retry, TableName=table)
        except MissingTable:
            return None
        return str(answer["Table"]["TableStatus"])

    def _check_partners(self, missing: str, retry: RetryPolicy) -> None:
        """
        Refuse to create a table beside one that holds items: a table was lost.

        An empty table in its place would give wrong counts, and take the name that a restore needs.
        """
        for table in self._partners:
            if table == missing:
                continue
            try:
                page = self.send(
                    self.client.scan, retry=retry, TableName=table, Limit=1, ConsistentRead=True
                )
            except MissingTable:
                continue
            # Another process may have created it meanwhile, and written to both.
            if page["Items"] and self._status(missing, retry) is None:
                raise StoreRefused(
                    f"table {missing} not found, but {table} holds items: restore {missing}. If "
                    "only the counters are lost, create that table empty and run "
                    "python -m events verify --repair"
                )

    def _expire_items(self, table: str, attribute: str, retry: RetryPolicy) -> None:
        # Even if the table exists: the process that created it may have died before this step.
        if self._is_expiring(table, retry):
            return
        try:
            self.send(
                self.client.update_time_to_live,
                retry=retry,
                TableName=table,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute},
            )
        except StoreRefused:
            if not self._is_expiring(table, retry):  # else another process was faster
                raise

    def _is_expiring(self, table: str, retry: RetryPolicy) -> bool:
        answer = self.send(self.client.describe_time_to_live, retry=retry, TableName=table)
        return answer["TimeToLiveDescription"]["TimeToLiveStatus"] in ("ENABLED", "ENABLING")
