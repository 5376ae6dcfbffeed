"""The back door to a store: items read and changed past the service, without its code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from events.dao import DynamoStore, Timing
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.models import Event
from events.service import Store
from tests.support.factories import Contents, counter_key, stored_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGISTRY = " customers"
STAMP = {"S": "2021-06-01T00:00:00.000000Z"}
#: An erasure waits only briefly until all writers know of it.
BRIEF = Timing(registered_for_seconds=0.05, request_seconds=0.05)


class BackDoor(Protocol):
    """What a manual delete, an import or a restore does."""

    def contents(self) -> Contents:
        """Everything that is stored."""

    def set_counter(
        self, customer_id: str, day: str, event_type: str | None, hours: Mapping[int, int]
    ) -> None:
        """Replace a counter item, or create it."""

    def drop_counter(self, customer_id: str, day: str, event_type: str | None) -> None: ...

    def put_event(self, event: Event) -> None:
        """Store an event without counting it."""

    def drop_event(self, event: Event) -> None:
        """Delete an event without changing its counters."""

    def put_foreign(self, customer_id: str, key: str) -> bool:
        """Store an item that is not an event; False if the store cannot hold one."""

    def unlist(self, customer_id: str) -> None:
        """Remove a customer from the registry."""


@dataclass(frozen=True)
class Subject:
    """A store to test, and the back door to it."""

    store: Store
    tables: BackDoor


class DynamoBackDoor:
    """The back door to tables in DynamoDB."""

    def __init__(self, client: DynamoDBClient, events_table: str) -> None:
        self._client = client
        self.names = Tables.named(events_table)

    def drop_tables(self) -> None:
        for table in (self.names.events, self.names.counts, self.names.changes):
            with suppress(self._client.exceptions.ResourceNotFoundException):
                self._client.delete_table(TableName=table)

    def contents(self) -> Contents:
        """Everything that is stored; fails if an item has other attributes than it should."""
        events: list[tuple[str, str]] = []
        counters: dict[tuple[str, str], dict[str, int]] = {}
        customers: list[str] = []
        voided: list[tuple[str, str, str]] = []
        for item in self.scan(self.names.events):
            key = item["customer_id"]["S"], item["event_key"]["S"]
            events.append(key)
            attributes = {"customer_id", "event_key", "ingested_at"}
            if "voided_at" in item:
                attributes |= {"voided_at", "void_reason"}
                voided.append((*key, item["void_reason"]["S"]))
            assert set(item) == attributes
        for item in self.scan(self.names.counts):
            key = item.pop("customer_id")["S"], item.pop("counter_key")["S"]
            if key[0] == REGISTRY:
                item.pop("erasing_since", None)
                item.pop("changes_forgotten_until", None)
                assert set(item) == {"registered_id", "registered_at"}
                customers.append(item["registered_id"]["S"])
                continue
            assert "S" in item.pop("updated_at")
            item.pop("repaired_at", None)
            hours = {hour: int(number["N"]) for hour, number in item.items()}
            counters[key] = {hour: number for hour, number in hours.items() if number}
        return Contents(sorted(events), counters, sorted(customers), sorted(voided))

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        for page in pages:
            yield from page["Items"]

    def set_counter(
        self, customer_id: str, day: str, event_type: str | None, hours: Mapping[int, int]
    ) -> None:
        self._client.put_item(
            TableName=self.names.counts,
            Item={
                "customer_id": {"S": customer_id},
                "counter_key": {"S": counter_key(day, event_type)},
                "updated_at": STAMP,
                **{f"h{hour:02d}": {"N": str(number)} for hour, number in hours.items()},
            },
        )

    def drop_counter(self, customer_id: str, day: str, event_type: str | None) -> None:
        self._delete(self.names.counts, customer_id, counter_key=counter_key(day, event_type))

    def put_event(self, event: Event) -> None:
        self.put_foreign(event.customer_id, stored_key(event))

    def drop_event(self, event: Event) -> None:
        self._delete(self.names.events, event.customer_id, event_key=stored_key(event))

    def put_foreign(self, customer_id: str, key: str) -> bool:
        self._client.put_item(
            TableName=self.names.events,
            Item={
                "customer_id": {"S": customer_id},
                "event_key": {"S": key},
                "ingested_at": STAMP,
            },
        )
        return True

    def unlist(self, customer_id: str) -> None:
        self._delete(self.names.counts, REGISTRY, counter_key=customer_id)

    def _delete(self, table: str, customer_id: str, **sort_key: str) -> None:
        ((name, value),) = sort_key.items()
        answer = self._client.delete_item(
            TableName=table,
            Key={"customer_id": {"S": customer_id}, name: {"S": value}},
            ReturnValues="ALL_OLD",
        )
        assert "Attributes" in answer, "there was nothing to delete"


@contextmanager
def dynamodb_subject(
    client: DynamoDBClient, events_table: str, *, timing: Timing = BRIEF
) -> Iterator[Subject]:
    """A store on existing tables. Its client can be used again afterwards."""
    store = DynamoStore(client, Tables.named(events_table), retry=RetryPolicy(10), timing=timing)
    yield Subject(store, DynamoBackDoor(client, events_table))
    store.close()
