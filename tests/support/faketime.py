"""One clock for a store and its DynamoDB, which only the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.model import OperationModel
    from mypy_boto3_dynamodb import DynamoDBClient

#: Far ahead, because DynamoDB Local deletes what has expired by its own clock.
START = datetime(2100, 1, 1, 12, tzinfo=UTC)


class FakeTime:
    """
    The time that a store's clock shows, and that DynamoDB's answers to one client tell.

    Args:
        client: Its answers get their `Date` and the creation times of tables from here.
    """

    def __init__(self, client: DynamoDBClient) -> None:
        self._at = START
        self._created: dict[str, datetime] = {}
        #: How far DynamoDB's clock is ahead of the store's.
        self.skew = timedelta()
        self._events = client.meta.events

    def __enter__(self) -> FakeTime:
        self._events.register("after-call.dynamodb", self._change_answer)
        return self

    def __exit__(self, *_: object) -> None:
        self._events.unregister("after-call.dynamodb", self._change_answer)

    def seconds(self) -> float:
        return (self._at - START).total_seconds()

    def now(self) -> datetime:
        return self._at

    def advance(self, seconds: float) -> None:
        self._at += timedelta(seconds=seconds)

    def _change_answer(self, parsed: dict[str, Any], model: OperationModel, **_: Any) -> None:
        date = self._at + self.skew
        parsed["ResponseMetadata"]["HTTPHeaders"]["date"] = format_datetime(date, usegmt=True)
        if model.name == "CreateTable" and "TableDescription" in parsed:
            self._created[parsed["TableDescription"]["TableName"]] = date
        if model.name == "DescribeTable" and "Table" in parsed:
            name = parsed["Table"]["TableName"]
            parsed["Table"]["CreationDateTime"] = self._created.get(name, START)
