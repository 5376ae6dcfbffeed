"""A store on DynamoDB Local at a fake time, to watch its change log."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ReadTimeoutError

from events.dao import DynamoStore
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.models import Change, ChangeCursor
from events.queries.changes import changes
from tests.support.backdoor import DynamoBackDoor
from tests.support.faketime import FakeTime

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Day = tuple[str, str]


@dataclass
class ChangeScene:
    """A store, its clock, and what it has sent."""

    client: DynamoDBClient
    tables: Tables
    time: FakeTime
    #: Operations in the order in which they were sent.
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = self.make_store()
        self.store.create_tables()
        self.client.meta.events.register("before-send.dynamodb", self._note)

    def make_store(self, tables: Tables | None = None, **options: Any) -> DynamoStore:
        """Another process's store; closing it would close the client."""
        retry = RetryPolicy(30, sleep=lambda _: None)
        options = {"retry": retry, "now": self.time.now, "clock": self.time.seconds, **options}
        return DynamoStore(self.client, tables or self.tables, **options)

    def _note(self, request: AWSPreparedRequest, **_: Any) -> None:
        target = request.headers["X-Amz-Target"]
        self.sent.append((target if isinstance(target, str) else target.decode()).split(".")[1])

    def before(self, operation: str, action: Any) -> None:
        """Call `action` once, just before the next request of this operation is sent."""
        event = f"before-send.dynamodb.{operation}"

        def act(**_: Any) -> None:
            self.client.meta.events.unregister(event, act)
            action()

        self.client.meta.events.register_first(event, act)

    def all_changes(self, *, limit: int = 1_000) -> list[Change]:
        """Everything that was logged until now, once it is settled, page by page."""
        self.time.advance(160)
        result: list[Change] = []
        cursor: ChangeCursor | None = None
        while True:
            page = changes(self.store.changes, cursor, limit=limit)
            assert len(page.changes) <= limit
            result += page.changes
            cursor = page.next_cursor
            if not page.has_more:
                return result

    def changed_days(self) -> set[Day]:
        return {(change.customer_id, change.day) for change in self.all_changes()}

    def logged(self) -> list[tuple[datetime, str]]:
        """Minute and customer of each item in the change log, read with boto3 alone."""
        items = self.client.scan(TableName=self.tables.changes, ConsistentRead=True)["Items"]
        return sorted(
            (datetime.fromisoformat(item["change_slot"]["S"][:27]), item["customer_id"]["S"])
            for item in items
        )

    def erase(self, customer_id: str) -> None:
        for _ in range(100):
            step = self.store.erase(customer_id, max_events=1_000)
            if step.is_complete:
                return
            self.time.advance(step.wait_seconds)
        raise AssertionError("the erasure does not end")


@pytest.fixture
def scene(shared_client: DynamoDBClient) -> Iterator[ChangeScene]:
    """A scene on new tables, which are dropped afterwards."""
    tables = Tables.named(f"t{uuid.uuid4().hex}")
    with FakeTime(shared_client) as time:
        scene = ChangeScene(shared_client, tables, time)
        yield scene
    shared_client.meta.events.unregister("before-send.dynamodb", scene._note)
    DynamoBackDoor(shared_client, tables.events).drop_tables()


def time_out() -> None:
    raise ReadTimeoutError(endpoint_url="", error="injected")
