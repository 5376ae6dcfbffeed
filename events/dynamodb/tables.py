"""Tables: made where they are not there, and where that loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from events.domain.retries import RetryPolicy
from events.errors import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

_TABLE_WAIT_SECONDS = 60.0
#: Of a table's status (API Reference, TableDescription).
_USABLE = ("ACTIVE", "UPDATING")


class AlreadyThere(Exception):
    """A table that was to be made is there, or being made."""


class NotThere(Exception):
    """A table that was asked about is not there."""


class TableMaker:
    """
    Makes tables; safe to use from many threads.

    Args:
        one: Makes a request; see `Calls.one`.
        definitions: Partners: one that is missing beside one that holds something is not made.
        on_tables_made: Called after a table was made: whatever it held before is gone.
        expiring: Of the tables, by name, those whose items go away by themselves, and the attribute
            that says when. They hold nothing that a new one could hide, and are no partners.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        one: Callable[..., Any],
        definitions: Sequence[CreateTableInputTypeDef],
        *,
        on_tables_made: Callable[[], None],
        expiring: Mapping[str, str],
    ) -> None:
        self._client = client
        self._one = one
        self._definitions = definitions
        self._on_tables_made = on_tables_made
        self._expiring = expiring

    @property
    def names(self) -> str:
        """What must be there, for whoever reads an error."""
        return " or ".join(each["TableName"] for each in self._partners())

    def make(self, retry: RetryPolicy) -> None:
        """Make the tables that are not there, and wait until they can be used."""
        self._create(self._definitions, retry)

    def make_expiring(self, retry: RetryPolicy) -> bool:
        """
        Make those that are no partners, if all the partners are there.

        Returns:
            Whether that mends anything.
        """
        partners = self._partners()
        if len(partners) == len(self._definitions) or any(
            self._table_status(each["TableName"], retry) is None for each in partners
        ):
            return False
        self._create([each for each in self._definitions if each not in partners], retry)
        return True

    def _partners(self) -> list[CreateTableInputTypeDef]:
        return [each for each in self._definitions if each["TableName"] not in self._expiring]

    def _create(self, definitions: Sequence[CreateTableInputTypeDef], retry: RetryPolicy) -> None:
        awaited = []
        for definition in definitions:
            table = definition["TableName"]
            # Asked first, so that whoever may not make tables can use those that are there.
            status = self._table_status(table, retry)
            if status not in _USABLE:
                awaited.append(table)
            if status is None:
                if table not in self._expiring:
                    self._check_others(table, retry)
                with suppress(AlreadyThere):
                    self._one(
                        self._client.create_table, is_about_tables=True, retry=retry, **definition
                    )
                self._on_tables_made()
        deadline = time.monotonic() + _TABLE_WAIT_SECONDS
        for table in awaited:
            while self._table_status(table, retry) not in _USABLE:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(f"the table {table} is still being made")
                time.sleep(0.2)
        for table in (each["TableName"] for each in definitions):
            if table in self._expiring:
                self._have_items_expire(table, retry)

    def _have_items_expire(self, table: str, retry: RetryPolicy) -> None:
        # Asked each time: whoever made the table may have ended before it came to this.
        if self._do_items_expire(table, retry):
            return
        self._one(
            self._client.update_time_to_live,
            # It is refused where another process was first.
            is_done=partial(self._do_items_expire, table, retry),
            retry=retry,
            TableName=table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": self._expiring[table]},
        )

    def _do_items_expire(self, table: str, retry: RetryPolicy) -> bool:
        answer = self._one(self._client.describe_time_to_live, retry=retry, TableName=table)
        status: str = answer["TimeToLiveDescription"]["TimeToLiveStatus"]
        return status in ("ENABLED", "ENABLING")

    def _check_others(self, missing: str, retry: RetryPolicy) -> None:
        """
        Refuse to make a table beside one that holds something: its partner was lost.

        An empty one in its place would answer with wrong numbers, and take the name that a
        restore needs.
        """
        for table in (each["TableName"] for each in self._partners()):
            if table == missing or self._table_status(table, retry) is None:
                continue
            page = self._one(
                self._client.scan,
                are_tables_made=True,
                retry=retry,
                TableName=table,
                Limit=1,
                ConsistentRead=True,
            )
            # Another process may have made it meanwhile, and written to both.
            if page["Items"] and self._table_status(missing, retry) is None:
                raise StoreRefused(
                    f"the table {missing} is not there, but {table} is and holds something: "
                    "restore it, or if it is the one of the counters, make it empty and run "
                    "python -m events verify --repair"
                )

    def _table_status(self, table: str, retry: RetryPolicy) -> str | None:
        """None where there is no such table."""
        try:
            answer = self._one(
                self._client.describe_table, is_about_tables=True, retry=retry, TableName=table
            )
        except NotThere:
            return None
        status: str = answer["Table"]["TableStatus"]
        return status
