"""One request to DynamoDB, repeated while that is safe, and its errors by their cause."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from events.errors import StoreRefused, StoreUnavailable
from events.transactions import Answer, RetryPolicy, judge_error

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

log = logging.getLogger(__name__)

#: The answer was lost or cut: what was asked may have been done.
UNKNOWN_OUTCOME = (BotoConnectionError, HTTPClientError, ResponseParserError)
_TABLE_WAIT_SECONDS = 60.0


class ConditionFailed(Exception):
    """The condition of a single write did not hold."""


class _AlreadyThere(Exception):
    """A table that was to be made is there, or being made."""


class _NotThere(Exception):
    """A table that was asked about is not there."""


class Calls:
    """
    Single requests and queries; safe to use from many threads.

    Args:
        client: Made for one attempt a call (`total_max_attempts=1`): the retries are here.
        tables: Made when a request finds that one is not there.
        retry: For each single request.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        tables: Sequence[CreateTableInputTypeDef],
        retry: RetryPolicy,
    ) -> None:
        self._client = client
        self._tables = tables
        self._retry = retry
        client.meta.events.register(
            "before-parse.dynamodb.Query", _read_items, unique_id="events-read-items"
        )

    def pages(
        self, table: str, sort_key: str, customer_id: str, low: str, high: str, **request: Any
    ) -> Iterator[dict[str, Any]]:
        """All pages of one customer's items from `low` to `high`, both included."""
        while True:
            page = self.one(
                self._client.query,
                TableName=table,
                KeyConditionExpression=(
                    f"customer_id = :customer AND {sort_key} BETWEEN :low AND :high"
                ),
                ExpressionAttributeValues={
                    ":customer": {"S": customer_id},
                    ":low": {"S": low},
                    ":high": {"S": high},
                },
                ConsistentRead=True,
                **request,
            )
            yield page
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        """
        Make the tables that are not there, and wait until they can be used.

        Args:
            patience_seconds: For each request; None is that of this store.
        """
        retry = self._retry
        if patience_seconds is not None:
            retry = replace(retry, patience_seconds=patience_seconds)
        for definition in self._tables:
            # Asked first, so that whoever may not make tables can use those that are there.
            if self._table_status(definition["TableName"], retry) is None:
                with suppress(_AlreadyThere):
                    self.one(
                        self._client.create_table, is_about_tables=True, retry=retry, **definition
                    )
        deadline = time.monotonic() + _TABLE_WAIT_SECONDS
        for definition in self._tables:
            table = definition["TableName"]
            while self._table_status(table, retry) not in ("ACTIVE", "UPDATING"):
                if time.monotonic() > deadline:
                    raise StoreUnavailable(f"the table {table} is still being made")
                time.sleep(0.2)

    def _table_status(self, table: str, retry: RetryPolicy) -> str | None:
        """None where there is no such table."""
        try:
            answer = self.one(
                self._client.describe_table, is_about_tables=True, retry=retry, TableName=table
            )
        except _NotThere:
            return None
        status: str = answer["Table"]["TableStatus"]
        return status

    def one(
        self,
        operation: Callable[..., Any],
        *,
        is_about_tables: bool = False,
        retry: RetryPolicy | None = None,
        **request: Any,
    ) -> Any:
        """One request that may be sent again as it is: a read, or a write of the same value."""
        failure: Exception | None = None
        for _ in (retry or self._retry).attempts():
            try:
                return operation(**request)
            except ClientError as exc:
                code = exc.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    raise ConditionFailed from exc
                if code == "ResourceInUseException" and is_about_tables:
                    raise _AlreadyThere from exc
                answer = judge(exc)
                if answer is Answer.MAKE_TABLES:
                    if is_about_tables:
                        raise _NotThere from exc
                    self.create_tables()
                elif answer is not Answer.RESEND:
                    raise refused("a request", exc) from exc
                failure = exc
            except UNKNOWN_OUTCOME as exc:
                failure = exc
            except BotoCoreError as exc:
                raise refused("a request", exc) from exc
        raise self.unavailable(failure) from failure

    def unavailable(self, exc: Exception | None) -> StoreUnavailable:
        return StoreUnavailable(
            f"the store at {self._client.meta.endpoint_url} did not answer in time ({_code(exc)})"
        )


def judge(exc: ClientError) -> Answer:
    """What an error answer asks for."""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return judge_error(exc.response["Error"]["Code"], status)


def reasons(exc: ClientError) -> list[str | None]:
    """Why a transaction was cancelled: one code for each action, in order."""
    # botocore's type knows only the part that all errors share.
    response = cast("dict[str, Any]", exc.response)
    return [reason.get("Code") for reason in response.get("CancellationReasons", [])]


def refused(what: str, exc: Exception) -> StoreRefused:
    """The error for an answer that the same request again would not change."""
    log.error("the store refused %s: %s", what, exc)
    return StoreRefused(f"the store refused {what} ({_code(exc)})")


def _code(exc: Exception | None) -> str:
    return exc.response["Error"]["Code"] if isinstance(exc, ClientError) else type(exc).__name__


def _read_items(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """
    Take the items out of an answer before botocore reads it.

    What a query gives are JSON strings already, in the shape that botocore would make of them
    attribute by attribute, which takes longer than all else in a request. Values in base64 (type
    B) would be left as they are: no item of ours has any.
    """
    if response_dict["status_code"] != 200:
        return
    try:
        body = json.loads(response_dict["body"])
        customized_response_dict["Items"] = body.pop("Items", [])
    except (ValueError, AttributeError):  # no JSON, or no object: botocore says so
        return
    response_dict["body"] = json.dumps(body).encode()
