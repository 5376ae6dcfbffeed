"""One request to DynamoDB, repeated while that is safe, and its errors by their cause."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from events.domain.retries import RetryPolicy
from events.dynamodb.answers import Answer, judge_error
from events.dynamodb.tables import AlreadyThere, NotThere, TableMaker
from events.errors import StoreRefused, StoreUnavailable
from events.telemetry import metrics

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

log = logging.getLogger(__name__)


class GarbledAnswer(Exception):
    """An answer that says it is well and cannot be read."""


#: The answer was lost or cut: what was asked may have been done.
UNKNOWN_OUTCOME = (BotoConnectionError, HTTPClientError, ResponseParserError, GarbledAnswer)


class NoTable(StoreRefused):
    """A table is not there, and may not be made."""


class ConditionFailed(Exception):
    """
    The condition of a single write did not hold.

    Args:
        item: The item as it is, where the write asked for it.
    """

    def __init__(self, item: Mapping[str, Any]) -> None:
        super().__init__()
        self.item = item


class Calls:
    """
    Single requests and queries; safe to use from many threads.

    Args:
        client: Made for one attempt a call (`total_max_attempts=1`): the retries are here.
        tables: Made when a request finds that one is not there, if they may be made.
        expiring: As for `TableMaker`.
        retry: For each single request.
        on_tables_made: Called after a table was made: whatever it held before is gone.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        tables: Sequence[CreateTableInputTypeDef],
        retry: RetryPolicy,
        *,
        on_tables_made: Callable[[], None],
        may_make_tables: bool,
        expiring: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._client = client
        self._maker = TableMaker(
            client, self.one, tables, on_tables_made=on_tables_made, expiring=expiring
        )
        self._retry = retry
        self._may_make_tables = may_make_tables
        client.meta.events.register(
            "before-parse.dynamodb", _read_body, unique_id="events-read-body"
        )

    def pages(
        self,
        table: str,
        sort_key: str,
        partition: str,
        low: str,
        high: str,
        *,
        partition_key: str = "customer_id",
        **request: Any,
    ) -> Iterator[dict[str, Any]]:
        """All pages of the items of one partition from `low` to `high`, both included."""
        while True:
            page = self.one(
                self._client.query,
                TableName=table,
                KeyConditionExpression=(
                    f"{partition_key} = :partition AND {sort_key} BETWEEN :low AND :high"
                ),
                ExpressionAttributeValues={
                    ":partition": {"S": partition},
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
        self._maker.make(retry)

    def make_missing_tables(self, exc: ClientError) -> None:
        """
        What to do about an answer that a table is not there.

        Raises:
            NoTable: They may not be made here.
        """
        if self._may_make_tables:
            self._maker.make(self._retry)
        elif not self._maker.make_expiring(self._retry):
            raise NoTable(f"there is no table {self._maker.names}") from exc

    def one(
        self,
        operation: Callable[..., Any],
        *,
        is_about_tables: bool = False,
        are_tables_made: bool = False,
        retry: RetryPolicy | None = None,
        before_each: Callable[[], None] = lambda: None,
        is_done: Callable[[], bool] = lambda: False,
        **request: Any,
    ) -> Any:
        """
        One request that may be sent again as it is: a read, or a write of the same value.

        Args:
            before_each: What must be done before each attempt.
            is_done: Asked where it is refused: then nothing is to be done, and None is returned.
        """
        failure: Exception | None = None
        for attempt in (retry or self._retry).attempts():
            if attempt > 1:
                metrics.STORE_RETRIES.labels(code_of(failure)).inc()
            before_each()
            try:
                return operation(**request)
            except ClientError as exc:
                code = exc.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    raise ConditionFailed(_details(exc).get("Item", {})) from exc
                if code == "ResourceInUseException" and is_about_tables:
                    raise AlreadyThere from exc
                answer = judge(exc)
                if answer is Answer.MAKE_TABLES and is_about_tables:
                    raise NotThere from exc
                if answer is Answer.MAKE_TABLES and not are_tables_made:
                    self.make_missing_tables(exc)
                    # Asked anew, however little patience there is.
                    return self.one(
                        operation,
                        are_tables_made=True,
                        retry=retry,
                        before_each=before_each,
                        is_done=is_done,
                        **request,
                    )
                if answer not in (Answer.RESEND, Answer.MAKE_TABLES):
                    if is_done():
                        return None
                    raise refused("a request", exc) from exc
                failure = exc
            except UNKNOWN_OUTCOME as exc:
                failure = exc
            except BotoCoreError as exc:
                raise not_sent(exc) from exc
        raise self.unavailable(failure) from failure

    def unavailable(self, exc: Exception | None) -> StoreUnavailable:
        return StoreUnavailable(
            f"the store at {self._client.meta.endpoint_url} did not answer in time ({code_of(exc)})"
        )


def judge(exc: ClientError) -> Answer:
    """What an error answer asks for."""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return judge_error(exc.response["Error"]["Code"], status)


def reasons(exc: ClientError) -> list[str | None]:
    """Why a transaction was cancelled: one code for each action, in order."""
    return [reason.get("Code") for reason in _details(exc).get("CancellationReasons", [])]


def old_items(exc: ClientError) -> list[Mapping[str, Any]]:
    """
    The items that stood in the way of a cancelled transaction: one for each action, in order.

    Empty for an action that was not at fault, or whose item is not there.
    """
    return [reason.get("Item", {}) for reason in _details(exc).get("CancellationReasons", [])]


def _details(exc: ClientError) -> dict[str, Any]:
    # botocore's type knows only the part that all errors share.
    return cast("dict[str, Any]", exc.response)


def refused(what: str, exc: Exception) -> StoreRefused:
    """The error for an answer that the same request again would not change."""
    log.error("the store refused %s: %s", what, exc)
    return StoreRefused(f"the store refused {what} ({code_of(exc)})")


def not_sent(exc: BotoCoreError) -> StoreRefused:
    """The error for a request that could not even be made: no credentials, say."""
    log.error("a request to the store could not be made: %s", exc)
    return StoreRefused(f"nothing can be sent to the store: {exc}")


def code_of(exc: Exception | None) -> str:
    """DynamoDB's code for an error, or else the name of its class."""
    return exc.response["Error"]["Code"] if isinstance(exc, ClientError) else type(exc).__name__


def _read_body(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """
    Look at an answer before botocore reads it.

    botocore takes a 200 with a body that is no JSON, such as a proxy's page, for a success that
    says nothing; here its outcome is unknown. And it makes items of JSON anew, attribute by
    attribute, which takes longer than all else in a request: they are the same afterwards, but for
    values in base64 (type B), which no item of ours has.

    Raises:
        GarbledAnswer: It says 200 and is no JSON object, or not from DynamoDB.
    """
    body = response_dict["body"]
    headers = response_dict["headers"]
    if response_dict["status_code"] >= 300:
        try:
            body.decode()
        except UnicodeDecodeError:  # the status says enough
            response_dict["body"] = b"{}"
        return
    # botocore looks at this only where it makes the retries.
    if "x-amz-crc32" in headers and int(headers["x-amz-crc32"]) != zlib.crc32(body):
        raise GarbledAnswer
    try:
        answer = json.loads(body)
    except ValueError as exc:
        raise GarbledAnswer from exc
    if not isinstance(answer, dict) or "x-amzn-requestid" not in headers:
        raise GarbledAnswer
    if "Items" in answer:
        customized_response_dict["Items"] = answer.pop("Items")
        response_dict["body"] = json.dumps(answer).encode()
