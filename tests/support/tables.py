"""
The tables as plain boto3 sees them, and what they must hold.

Nothing here shares code with the service; `factories.expected_contents` is a second, independent
computation of the same.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_REGISTRY = " customers"
#: `ingested_at` of items that a test writes past the service.
STAMP = "2021-06-01T00:00:00.000000Z"

#: Customer, event type, transaction, instant.
Row = tuple[str, str, str, datetime]


class Contents(NamedTuple):
    """
    Both tables, but for the stamps of when something came in.

    `events` are (customer, stored key), ascending; `counters` maps (customer, stored key) to
    `h00` … `h23` as they stand there; `customers` are the listed ones, ascending.
    """

    events: list[tuple[str, str]]
    counters: dict[tuple[str, str], dict[str, int]]
    customers: list[str]


class Tables:
    """Both tables, read and changed with boto3 alone."""

    def __init__(self, endpoint_url: str, name: str) -> None:
        self.name = name
        self._events, self._counts = name, f"{name}_hourly_counts"
        self._changes = f"{name}_changes"
        self.client: DynamoDBClient = boto3.client(
            "dynamodb",
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def are_there(self) -> bool:
        """Whether anybody made one of them."""
        for table in (self._events, self._counts):
            with suppress(self.client.exceptions.ResourceNotFoundException):
                self.client.describe_table(TableName=table)
                return True
        return False

    def contents(self) -> Contents:
        """What is stored now. Tables that nobody made are empty ones."""
        events: list[tuple[str, str]] = []
        counters: dict[tuple[str, str], dict[str, int]] = {}
        customers: list[str] = []
        for item in self._scan(self._events):
            assert set(item) - {"voided_at", "void_reason"} == {
                "customer_id",
                "event_key",
                "ingested_at",
            }
            events.append((item["customer_id"]["S"], item["event_key"]["S"]))
        for item in self._scan(self._counts):
            key = item.pop("customer_id")["S"], item.pop("counter_key")["S"]
            if key[0] == _REGISTRY:
                customers.append(item["registered_id"]["S"])
                continue
            assert set(item.pop("updated_at")) == {"S"}
            item.pop("repaired_at", None)
            counters[key] = {hour: int(number["N"]) for hour, number in sorted(item.items())}
        return Contents(sorted(events), counters, sorted(customers))

    def fill(self, contents: Contents) -> None:
        """Make the tables and put these items in, as an ingest of them would."""
        for table, sort_key in ((self._events, "event_key"), (self._counts, "counter_key")):
            self.client.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[
                    {"AttributeName": "customer_id", "KeyType": "HASH"},
                    {"AttributeName": sort_key, "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": "customer_id", "AttributeType": "S"},
                    {"AttributeName": sort_key, "AttributeType": "S"},
                ],
            )
        for customer_id, key in contents.events:
            self.put_event(customer_id, key)
        for (customer_id, key), hours in contents.counters.items():
            for hour, count in hours.items():
                self.add(customer_id, key, hour, count)
        for customer_id in contents.customers:
            self.client.put_item(
                TableName=self._counts,
                Item={
                    "customer_id": {"S": _REGISTRY},
                    "counter_key": {"S": customer_id},
                    "registered_id": {"S": customer_id},
                    "registered_at": {"S": STAMP},
                },
            )

    def _scan(self, table: str) -> Iterator[dict[str, Any]]:
        pages = self.client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        with suppress(self.client.exceptions.ResourceNotFoundException):
            for page in pages:
                yield from page["Items"]

    def count(self) -> int:
        """How many events are stored."""
        try:
            pages = self.client.get_paginator("scan").paginate(
                TableName=self._events, Select="COUNT", ConsistentRead=True
            )
            return sum(page["Count"] for page in pages)
        except self.client.exceptions.ResourceNotFoundException:
            return 0

    def wait_until_stored(
        self, number: int, *, while_so: Callable[[], bool] = lambda: True
    ) -> None:
        """
        Wait until so many events are stored, or a condition ends.

        It scans four times a second: more often would slow down the writer that it waits for.
        """
        deadline = time.monotonic() + 120
        while self.count() < number and while_so():
            assert time.monotonic() < deadline, f"{number} events were not stored in time"
            time.sleep(0.25)

    def add(self, customer_id: str, counter_key: str, hour: str, number: int) -> None:
        """Falsify a counter: `number` more than were counted."""
        self.client.update_item(
            TableName=self._counts,
            Key={"customer_id": {"S": customer_id}, "counter_key": {"S": counter_key}},
            UpdateExpression="ADD #hour :number SET updated_at = :now",
            ExpressionAttributeNames={"#hour": hour},
            ExpressionAttributeValues={":number": {"N": str(number)}, ":now": {"S": STAMP}},
        )

    def put_event(self, customer_id: str, key: str) -> None:
        """Store an item and count it nowhere."""
        self.client.put_item(
            TableName=self._events,
            Item={
                "customer_id": {"S": customer_id},
                "event_key": {"S": key},
                "ingested_at": {"S": STAMP},
            },
        )

    def unlist(self, customer_id: str) -> None:
        self.client.delete_item(
            TableName=self._counts,
            Key={"customer_id": {"S": _REGISTRY}, "counter_key": {"S": customer_id}},
        )

    def drop(self) -> None:
        for table in (self._events, self._counts, self._changes):
            with suppress(self.client.exceptions.ResourceNotFoundException):
                self.client.delete_table(TableName=table)


def rows_of(path: Path) -> list[Row]:
    """The rows of a good file with a header, duplicates included."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            (
                row["customer_id"],
                row["event_type"],
                row["transaction_id"],
                datetime.fromisoformat(row["timestamp"]).astimezone(UTC),
            )
            for row in csv.DictReader(file)
        ]


def contents_of(rows: Iterable[Row]) -> Contents:
    """What both tables hold once these rows came in, each as often as it likes."""
    events = sorted({(row[0], _key(row)) for row in rows})
    return Contents(events, recounted(events), sorted({customer for customer, _ in events}))


def _key(row: Row) -> str:
    _, event_type, transaction_id, at = row
    kind = "".join({"%": "%25", "-": "%2D"}.get(item, item) for item in event_type)
    return f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z-{kind}-{transaction_id}"


def recounted(events: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, int]]:
    """The counters that stored events, (customer, key), must have: counted one by one."""
    counters: dict[tuple[str, str], dict[str, int]] = {}
    for customer_id, key in events:
        day, hour = key[:10], f"h{key[11:13]}"
        kind = key[28:].split("-")[0].replace("%2D", "-").replace("%25", "%")
        for counter in (f"total#{day}", f"type#{day}#{kind}"):
            hours = counters.setdefault((customer_id, counter), {})
            hours[hour] = hours.get(hour, 0) + 1
    return counters
