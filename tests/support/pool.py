"""Tables that tests use one after the other: to empty tables is quicker than to create them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from events.bootstrap import make_client, make_store
from events.config import Settings
from events.datamodels import Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Deleting more items takes longer than creating tables.
_MAX_ITEMS = 2_000
_PER_REQUEST = 25


class TablePool:
    """The tables of one test worker."""

    def __init__(self, endpoint_url: str) -> None:
        self._settings = Settings(dynamodb_endpoint_url=endpoint_url)
        #: For any test: making a client takes as long as a test.
        self.client: DynamoDBClient = make_client(self._settings)
        self._free: list[str] = []

    @contextmanager
    def take(self) -> Iterator[str]:
        """Name of empty tables that nobody else uses meanwhile."""
        name = self._free.pop() if self._free else self._create()
        yield name
        if self._clear(name):
            self._free.append(name)

    def _create(self) -> str:
        name = f"t{uuid.uuid4().hex}"
        settings = self._settings.model_copy(update={"dynamodb_events_table_name": name})
        with closing(make_store(settings, patience_seconds=10)) as store:
            store.create_tables()
        return name

    def _clear(self, name: str) -> bool:
        """Empty tables; False if they cannot be used again."""
        for definition in Tables.named(name).definitions():
            keys = [key["AttributeName"] for key in definition["KeySchema"]]
            try:
                items = self._items(definition["TableName"], keys)
            except self.client.exceptions.ResourceNotFoundException:
                return False
            if len(items) > _MAX_ITEMS:
                return False
            for start in range(0, len(items), _PER_REQUEST):
                batch = items[start : start + _PER_REQUEST]
                self.client.batch_write_item(
                    RequestItems={
                        definition["TableName"]: [{"DeleteRequest": {"Key": key}} for key in batch]
                    }
                )
        return True

    def _items(self, table: str, keys: list[str]) -> list[Any]:
        pages = self.client.get_paginator("scan").paginate(
            TableName=table, ConsistentRead=True, ProjectionExpression=", ".join(keys)
        )
        return [item for page in pages for item in page["Items"]]
