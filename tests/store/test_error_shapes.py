"""
The shapes of errors, on moto: what a cancelled and a refused transaction look like.

moto is not atomic. Nothing here says anything about exactness.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from events.bootstrap import make_client
from events.config import Settings
from events.dao import DynamoStore
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.dynamodb.answers import Answer, Cancellation, judge_cancellation, judge_error
from events.errors import StoreRefused
from events.models import Outcome
from tests.support.factories import event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

TABLES = Tables.named("customer_events")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = make_client(Settings(dynamodb_endpoint_url="", aws_region="eu-central-1"))
        for definition in TABLES.definitions():
            client.create_table(**definition)
        yield client
        client.close()


def put(key: str) -> TransactWriteItemTypeDef:
    return {
        "Put": {
            "TableName": TABLES.events,
            "Item": {"customer_id": {"S": "acme"}, "event_key": {"S": key}},
            "ConditionExpression": "attribute_not_exists(customer_id)",
        }
    }


def add(key: str) -> TransactWriteItemTypeDef:
    return {
        "Update": {
            "TableName": TABLES.counts,
            "Key": {"customer_id": {"S": "acme"}, "counter_key": {"S": key}},
            "UpdateExpression": "ADD h00 :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
    }


def error_of(client: DynamoDBClient, actions: list[TransactWriteItemTypeDef]) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        client.transact_write_items(TransactItems=actions)
    return cast("dict[str, Any]", caught.value.response)


def test_a_cancelled_transaction_gives_the_reason_of_each_action_in_order(
    client: DynamoDBClient,
) -> None:
    client.transact_write_items(TransactItems=[put("b"), put("d")])
    actions = [put("a"), put("b"), put("c"), put("d"), add("total"), add("type")]
    response = error_of(client, actions)
    code = response["Error"]["Code"]
    assert code == "TransactionCanceledException"
    assert judge_error(code, response["ResponseMetadata"]["HTTPStatusCode"]) is Answer.CANCELLED
    reasons = [reason["Code"] for reason in response["CancellationReasons"]]
    failed = "ConditionalCheckFailed"
    assert reasons == ["None", failed, "None", failed, "None", "None"]
    assert judge_cancellation(reasons, 4) == Cancellation((1, 3), is_busy=False, refused=())


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param([put("a"), put("a")], id="an event twice"),
        pytest.param([put("a"), add("total"), add("total")], id="a counter twice"),
    ],
)
def test_a_repeated_item_in_a_transaction_is_a_validation_error(
    client: DynamoDBClient, actions: list[TransactWriteItemTypeDef]
) -> None:
    response = error_of(client, actions)
    code, status = response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
    assert (code, status) == ("ValidationException", 400)
    assert "CancellationReasons" not in response
    assert judge_error(code, status) is Answer.REFUSED


def test_the_store_reads_these_shapes(client: DynamoDBClient) -> None:
    store = DynamoStore(client, TABLES, retry=RetryPolicy(5))
    assert store.write([event("t-1")]) == [Outcome.INSERTED]
    assert store.write([event("t-2"), event("t-1")]) == [Outcome.INSERTED, Outcome.DUPLICATE]
    # No caller does this: twins are taken out before.
    with pytest.raises(StoreRefused, match="ValidationException"):
        store.write([event("t-3"), event("t-3")])


def test_a_table_that_is_not_there_has_a_name_of_its_own(client: DynamoDBClient) -> None:
    client.delete_table(TableName=TABLES.counts)
    response = error_of(client, [put("a"), add("total")])
    code, status = response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
    assert code == "ResourceNotFoundException"
    assert judge_error(code, status) is Answer.MISSING_TABLE
