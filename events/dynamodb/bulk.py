"""Bulk loading of empty tables, without transactions."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from events.datamodels import (
    HOURS,
    PLANS,
    Tables,
    counter_item,
    counter_item_key,
    event_item,
    registry_item,
)
from events.domain.retries import RetryPolicy
from events.domain.timestamps import format_timestamp, utc_now
from events.dynamodb.changelog import EXPIRES_AT, ChangeLog, Minutes
from events.dynamodb.requests import MAX_PUT_TOGETHER, ConditionFailed, Requests
from events.errors import StoreRefused
from events.models import DayCounts, Event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: No customer has this id, because ids do not start with white space.
_MARK = {"customer_id": {"S": " loading"}, "counter_key": {"S": "load"}}


class BulkLoader:
    """
    Puts events, counters and customers without checking what exists.

    Counters equal the events only if nobody else writes. So a load starts on empty tables and
    leaves a mark in them until it ends. If a run was interrupted, run it again from the start: with
    the plan and the time from the mark it puts the same items.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        tables: Tables,
        *,
        retry: RetryPolicy,
    ) -> None:
        self._client = client
        self._tables = tables
        self._retry = retry
        self._requests = Requests(
            client, tables.definitions(), retry, expiring={tables.changes: EXPIRES_AT}
        )
        self.create_tables = self._requests.create_tables
        self._changes = ChangeLog(self._requests, tables.changes, Minutes(utc_now))

    def close(self) -> None:
        self._client.close()

    def under_way(self) -> str | None:
        """The plan of a load that was started and not finished, if any."""
        mark = self._mark()
        return mark["plan"]["S"] if mark else None

    def begin(self, plan: str) -> datetime:
        """
        Mark the tables as being loaded; returns the time that every item gets.

        Args:
            plan: What is loaded. The same plan must give the same items.

        Raises:
            StoreRefused: The tables hold items, or another load was started.
        """
        self._requests.create_tables()
        if not self._mark():
            self._check_empty()
            # Of two processes that start at once, one sets the plan.
            with suppress(ConditionFailed):
                begun_at = format_timestamp(utc_now())
                self._requests.send(
                    self._client.put_item,
                    TableName=self._tables.counts,
                    Item={**_MARK, "plan": {"S": plan}, "begun_at": {"S": begun_at}},
                    ConditionExpression="attribute_not_exists(customer_id)",
                )
        mark = self._mark()
        if mark["plan"]["S"] != plan:
            raise StoreRefused(
                f"another load into {self._tables.events} was not finished: {mark['plan']['S']}. "
                "Run that load again, or delete the tables first"
            )
        return datetime.fromisoformat(mark["begun_at"]["S"])

    def put_customers(self, customer_ids: Iterable[str], at: datetime) -> None:
        self._put(self._tables.counts, (registry_item(name, at) for name in customer_ids))

    def put_events(self, events: Iterable[Event], at: datetime) -> None:
        """Store distinct events without counting them."""
        self._put(self._tables.events, (event_item(event, at) for event in events))

    def put_counts(self, counts: Iterable[DayCounts], at: datetime) -> None:
        """Replace counters."""
        self._put(self._tables.counts, (counter_item(day, at) for day in counts))

    def set_hours(self, counts: Iterable[DayCounts], at: datetime) -> None:
        """Replace some hours of counters; the other hours of the day stay."""
        for day in counts:
            hours = {HOURS[hour]: {"N": str(count)} for hour, count in day.hours.items()}
            sets = [f"{name} = :{name}" for name in (*hours, "updated_at")]
            self._requests.send(
                self._client.update_item,
                TableName=self._tables.counts,
                Key=counter_item_key(day.customer_id, day.day, day.event_type),
                UpdateExpression=f"SET {', '.join(sets)}",
                ExpressionAttributeValues={
                    **{f":{name}": number for name, number in hours.items()},
                    ":updated_at": {"S": format_timestamp(at)},
                },
            )

    def finish(self) -> None:
        """Remove the mark. Readers of the change log must start again."""
        self._changes.note_gap()
        self._requests.send(self._client.delete_item, TableName=self._tables.counts, Key=_MARK)

    def _mark(self) -> Any:
        return self._requests.get(self._tables.counts, _MARK)

    def _check_empty(self) -> None:
        """Plans of shards are allowed: a loaded day has counters, so writers ignore its plan."""
        for table in (self._tables.events, self._tables.counts):
            items = self._requests.all_items(table, Limit=100)
            if any(item["customer_id"]["S"] != PLANS for item in items):
                raise StoreRefused(
                    f"the table {table} is not empty. Load into new tables: set "
                    "DYNAMODB_EVENTS_TABLE_NAME to another name"
                )

    def _put(self, table: str, items: Iterable[dict[str, Any]]) -> None:
        iterator = iter(items)
        while batch := list(islice(iterator, MAX_PUT_TOGETHER)):
            for _ in self._retry.attempts():
                _, batch = self._requests.put_together(table, batch)
                if not batch:
                    break
            else:
                raise self._requests.unavailable(None)
