"""The tables of commands that run as processes: read and changed past the service."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from events.models import Event
from tests.support.backdoor import REGISTRY, STAMP, DynamoBackDoor
from tests.support.factories import Contents, expected_contents


class Tables(DynamoBackDoor):
    """The back door with a client of its own, to tables that need not exist."""

    def __init__(self, endpoint_url: str, name: str) -> None:
        self.name = name
        self.client = boto3.client(
            "dynamodb",
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        super().__init__(self.client, name)

    def are_there(self) -> bool:
        """Whether anybody made one of them."""
        for table in (self.names.events, self.names.counts):
            with suppress(self.client.exceptions.ResourceNotFoundException):
                self.client.describe_table(TableName=table)
                return True
        return False

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """The items of a table; a missing table is an empty one."""
        with suppress(self.client.exceptions.ResourceNotFoundException):
            yield from super().scan(table)

    def count(self) -> int:
        """How many events are stored."""
        pages = self.client.get_paginator("scan").paginate(
            TableName=self.names.events, Select="COUNT", ConsistentRead=True
        )
        with suppress(self.client.exceptions.ResourceNotFoundException):
            return sum(page["Count"] for page in pages)
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

    def fill(self, contents: Contents) -> None:
        """Make the tables and put these items in, as an ingest of them would."""
        events, counts, _ = self.names.definitions()
        for definition in (events, counts):
            self.client.create_table(**definition)
        for customer_id, key in contents.events:
            self.put_foreign(customer_id, key)
        for (customer_id, key), hours in contents.counters.items():
            for hour, count in hours.items():
                self.add(customer_id, key, hour, count)
        for customer_id in contents.customers:
            self.client.put_item(
                TableName=self.names.counts,
                Item={
                    "customer_id": {"S": REGISTRY},
                    "counter_key": {"S": customer_id},
                    "registered_id": {"S": customer_id},
                    "registered_at": STAMP,
                },
            )

    def add(self, customer_id: str, counter_key: str, hour: str, number: int) -> None:
        """Falsify a counter: `number` more than were counted."""
        self.client.update_item(
            TableName=self.names.counts,
            Key={"customer_id": {"S": customer_id}, "counter_key": {"S": counter_key}},
            UpdateExpression="ADD #hour :number SET updated_at = :now",
            ExpressionAttributeNames={"#hour": hour},
            ExpressionAttributeValues={":number": {"N": str(number)}, ":now": STAMP},
        )


def rows_of(path: Path) -> list[Event]:
    """The rows of a good file with a header, duplicates included; read without our reader."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Event(
                row["customer_id"],
                row["event_type"],
                row["transaction_id"],
                datetime.fromisoformat(row["timestamp"]).astimezone(UTC),
            )
            for row in csv.DictReader(file)
        ]


def contents_of(rows: Iterable[tuple[str, str, str, datetime]]) -> Contents:
    """What both tables hold once these rows came in, each as often as it likes."""
    return expected_contents(map(Event._make, rows))


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
