"""Tables filled from elsewhere, past the transactions: for a store that holds nothing yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from events.datamodels import (
    Tables,
    counter_item,
    counter_key,
    event_item,
    event_key,
    registry_item,
)
from events.domain.retries import RetryPolicy
from events.domain.timestamps import format_timestamp, utc_now
from events.dynamodb.changeitems import EXPIRES_AT
from events.dynamodb.changelog import ChangeLog
from events.dynamodb.expressions import set_hours_expressions
from events.dynamodb.minutes import Minutes
from events.dynamodb.requests import ConditionFailed, Requests
from events.errors import StoreRefused
from events.models import DayCounts, Event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Of one BatchWriteItem (API Reference, BatchWriteItem).
_PUTS_AT_A_TIME = 25
#: No customer can have this id: ids have no white space at their start.
_LOADING = " loading"
_MARK = {"customer_id": {"S": _LOADING}, "counter_key": {"S": "load"}}


class BulkLoader:
    """
    Puts events, counters and customers without a look at what is there.

    That keeps counters equal to events only where nobody else writes: so a load begins on empty
    tables, and a mark in them says from then on what is being loaded. A run that was cut off is
    made again from its beginning: with the plan and the time in the mark it puts the very same
    items.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        tables: Tables,
        *,
        retry: RetryPolicy,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._tables = tables
        self._retry = retry
        self._now = now
        self._requests = Requests(
            client,
            tables.definitions(),
            retry,
            on_tables_made=lambda: None,
            may_make_tables=True,
            expiring={tables.changes: EXPIRES_AT},
        )
        self._changes = ChangeLog(client, self._requests, tables.changes, Minutes(now))

    def close(self) -> None:
        self._client.close()

    def create_tables(self) -> None:
        """Make the tables that are not there, and wait until they can be used."""
        self._requests.create_tables()

    def under_way(self) -> str | None:
        """The plan of a load that was begun and not finished; None where there is none."""
        mark = self._mark()
        return mark["plan"]["S"] if mark else None

    def begin(self, plan: str) -> datetime:
        """
        Mark the tables as being loaded, if they are empty or marked with this plan already.

        Args:
            plan: What is loaded, such that the same plan gives the same items.

        Returns:
            The time that every item gets.

        Raises:
            StoreRefused: They hold something, or another load was begun.
        """
        self._requests.create_tables()
        if not self._mark():
            self._check_empty()
            # Two that begin at once must agree on one plan.
            with suppress(ConditionFailed):
                self._requests.send(
                    self._client.put_item,
                    TableName=self._tables.counts,
                    Item={
                        **_MARK,
                        "plan": {"S": plan},
                        "begun_at": {"S": format_timestamp(self._now())},
                    },
                    ConditionExpression="attribute_not_exists(customer_id)",
                )
        mark = self._mark()
        if mark["plan"]["S"] != plan:
            raise StoreRefused(
                f"another load into {self._tables.events} was begun and not finished: "
                f"{mark['plan']['S']}. Run that again, or delete both tables first"
            )
        return datetime.fromisoformat(mark["begun_at"]["S"])

    def put_customers(self, customer_ids: Iterable[str], at: datetime) -> None:
        """List customers."""
        self._put(self._tables.counts, (registry_item(each, at) for each in customer_ids))

    def put_events(self, events: Iterable[Event], at: datetime) -> None:
        """Store distinct events, and count them nowhere."""
        self._put(
            self._tables.events,
            (event_item(each.customer_id, event_key(each), at) for each in events),
        )

    def put_counts(self, counts: Iterable[DayCounts], at: datetime) -> None:
        """Put counters, whatever was counted before."""
        self._put(self._tables.counts, (counter_item(each, at) for each in counts))

    def set_hours(self, counts: Iterable[DayCounts], at: datetime) -> None:
        """Put hours of counters, as they are now; the other hours of the day stay."""
        for each in counts:
            update, values = set_hours_expressions(each, at)
            self._requests.send(
                self._client.update_item,
                TableName=self._tables.counts,
                Key={
                    "customer_id": {"S": each.customer_id},
                    "counter_key": {"S": counter_key(each.day, each.event_type)},
                },
                UpdateExpression=update,
                ExpressionAttributeValues=values,
            )

    def finish(self) -> None:
        """Take the mark off: everything is there. Who follows the changes is to begin anew."""
        self._changes.note_gap()
        self._requests.send(self._client.delete_item, TableName=self._tables.counts, Key=_MARK)

    def _mark(self) -> Any:
        answer = self._requests.send(
            self._client.get_item, TableName=self._tables.counts, Key=_MARK, ConsistentRead=True
        )
        return answer.get("Item", {})

    def _check_empty(self) -> None:
        for table in (self._tables.events, self._tables.counts):
            page = self._requests.send(
                self._client.scan, TableName=table, Limit=1, ConsistentRead=True
            )
            if page["Items"]:
                raise StoreRefused(
                    f"the table {table} is not empty: what is loaded is put past the counters, so "
                    "it must be. Load into new tables, under another name"
                )

    def _put(self, table: str, items: Iterable[dict[str, Any]]) -> None:
        for batch in _batches(items):
            left: Any = {table: [{"PutRequest": {"Item": item}} for item in batch]}
            for _ in self._retry.attempts():
                answer = self._requests.send(self._client.batch_write_item, RequestItems=left)
                # Throttled ones come back, in an answer that says all is well.
                left = answer.get("UnprocessedItems")
                if not left:
                    break
            else:
                raise self._requests.unavailable(None)


def _batches(items: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rest = iter(items)
    while batch := list(islice(rest, _PUTS_AT_A_TIME)):
        yield batch
