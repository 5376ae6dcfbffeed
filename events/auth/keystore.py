"""API keys on DynamoDB, in a table of their own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from events.auth.keys import ApiKey, Right
from events.domain.retries import RetryPolicy
from events.domain.timestamps import format_timestamp
from events.dynamodb.requests import ConditionFailed, Requests
from events.dynamodb.tables import MissingTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, CreateTableInputTypeDef

log = logging.getLogger(__name__)


class DynamoKeyStore:
    """
    API keys in one table; safe to use from many threads.

    Args:
        client: Made for one attempt per call (`total_max_attempts=1`); closed with the store.
        events_table: The table of keys is named after it, with `_api_keys` appended.
        retry: For each single request.
        may_make_tables: Whether `add` creates a missing table. Reads never do: without the table
            there are no keys.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        events_table: str,
        *,
        retry: RetryPolicy,
        may_make_tables: bool,
    ) -> None:
        self._client = client
        self._table = f"{events_table}_api_keys"
        # Separate from the event tables: if this table is missing, those need not be.
        tables = (definition(self._table),)
        requests = partial(Requests, client, tables, retry, on_tables_made=lambda: None)
        self._requests = requests(may_make_tables=False)
        self._creating_requests = requests(may_make_tables=may_make_tables)

    def close(self) -> None:
        self._client.close()

    def get(self, key_id: str) -> ApiKey | None:
        try:
            answer = self._requests.send(
                self._client.get_item,
                TableName=self._table,
                Key={"key_id": {"S": key_id}},
                ConsistentRead=True,
            )
        except MissingTable:
            log.warning(
                "no API keys exist yet (no table %s): create one with "
                "`python -m events keys create --name NAME --right read`",
                self._table,
            )
            return None
        return _key_of(answer["Item"]) if "Item" in answer else None

    def add(self, key: ApiKey) -> bool:
        try:
            self._creating_requests.send(
                self._client.put_item,
                TableName=self._table,
                Item=_item(key),
                ConditionExpression="attribute_not_exists(key_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as exc:
            # If a first answer was lost, the stored key is this one.
            return _key_of(exc.item) == key
        return True

    def keys(self) -> list[ApiKey]:
        try:
            keys = [_key_of(item) for item in self._requests.all_items(self._table)]
        except MissingTable:
            return []
        return sorted(keys, key=lambda key: (key.created_at, key.key_id))

    def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        try:
            answer = self._requests.send(
                self._client.update_item,
                TableName=self._table,
                Key={"key_id": {"S": key_id}},
                UpdateExpression="SET revoked_at = :at",
                # Without the first part this would create an item with only an id.
                ConditionExpression="attribute_exists(key_id) AND attribute_not_exists(revoked_at)",
                ExpressionAttributeValues={":at": {"S": format_timestamp(at)}},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except MissingTable:
            return None
        except ConditionFailed as exc:
            # Already revoked, perhaps by this request if a first answer was lost.
            return _key_of(exc.item) if exc.item else None
        return _key_of(answer["Attributes"])

    def forget(self, customer_id: str) -> None:
        for key in self.keys():
            if key.customer_id == customer_id:
                self._requests.send(
                    self._client.delete_item,
                    TableName=self._table,
                    Key={"key_id": {"S": key.key_id}},
                )


def definition(table: str) -> CreateTableInputTypeDef:
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "key_id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "key_id", "AttributeType": "S"}],
    }


def _item(key: ApiKey) -> Mapping[str, AttributeValueTypeDef]:
    item: dict[str, AttributeValueTypeDef] = {
        "key_id": {"S": key.key_id},
        "name": {"S": key.name},
        "rights": {"SS": sorted(right.value for right in key.rights)},
        "digest": {"S": key.digest},
        "created_at": {"S": format_timestamp(key.created_at)},
    }
    if key.customer_id is not None:
        item["customer_id"] = {"S": key.customer_id}
    for name, at in (("expires_at", key.expires_at), ("revoked_at", key.revoked_at)):
        if at is not None:
            item[name] = {"S": format_timestamp(at)}
    return item


def _key_of(item: Mapping[str, Any]) -> ApiKey:
    return ApiKey(
        key_id=item["key_id"]["S"],
        name=item["name"]["S"],
        rights=frozenset(map(Right, item["rights"]["SS"])),
        customer_id=item["customer_id"]["S"] if "customer_id" in item else None,
        digest=item["digest"]["S"],
        created_at=_time(item["created_at"]["S"]),
        expires_at=_time(item["expires_at"]["S"]) if "expires_at" in item else None,
        revoked_at=_time(item["revoked_at"]["S"]) if "revoked_at" in item else None,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
