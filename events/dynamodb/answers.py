"""What DynamoDB's error answers mean; decided by codes, never by message texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

_CONDITION_FAILED = "ConditionalCheckFailed"
_BUSY_REASONS = frozenset(
    {
        "TransactionConflict",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "RequestLimitExceeded",
        "InternalServerError",
    }
)
_RETRYABLE_CODES = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


_EXCEEDED = "ProvisionedThroughputExceeded"
_THROTTLES = {"ThrottlingError", "ThrottlingException", _EXCEEDED, f"{_EXCEEDED}Exception"}


class Answer(Enum):
    """What to do after an error answer."""

    #: The outcome is unknown, or the store is busy: send the same request, with the same token.
    RETRY = "retry"
    #: A table is missing: create it, then send the same request.
    MISSING_TABLE = "missing table"
    #: A transaction was cancelled: `judge_cancellation` says why.
    CANCELLED = "cancelled"
    #: The same request would fail again.
    REFUSED = "refused"


def judge(response: Mapping[str, Any]) -> Answer:
    """Decide what to do after an error answer."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    answer = judge_error(response["Error"]["Code"], status)
    if answer is Answer.CANCELLED:
        why = set(reasons(response)) - {None, "None"}
        if why and why <= _BUSY_REASONS:
            return Answer.RETRY
    return answer


def judge_error(code: str, http_status: int) -> Answer:
    if code == "TransactionCanceledException":
        return Answer.CANCELLED
    if code == "ResourceNotFoundException":
        return Answer.MISSING_TABLE
    if code in _RETRYABLE_CODES or http_status >= 500 or http_status == 429:
        return Answer.RETRY
    return Answer.REFUSED


@dataclass(frozen=True, slots=True)
class Cancellation:
    """
    Why a transaction was cancelled.

    Args:
        failed: Indexes of the events whose condition failed, ascending.
        is_busy: An action met a conflict or a throttle: wait before the next attempt.
        refused: Reason codes that no retry fixes; empty if the other events can go on.
        is_day_missing: The day's total is not as required: missing, or of other shards.
    """

    failed: tuple[int, ...]
    is_busy: bool
    refused: tuple[str, ...]
    is_day_missing: bool = False


def judge_cancellation(
    reasons: Sequence[str | None], number_of_events: int, *, is_day_expected: bool = False
) -> Cancellation:
    """
    Read the reasons of a cancelled transaction: one per action, in order.

    A failed condition on an action without a condition is refused, and so is a cancellation
    without any reason.

    Args:
        number_of_events: The first actions of the transaction; each has a condition.
        is_day_expected: The next action, on the day's total, has a condition too.
    """
    failed, refused, is_busy, is_day_missing = [], [], False, False
    for index, reason in enumerate(reasons):
        if reason is None or reason == "None":
            continue
        if reason == _CONDITION_FAILED and index < number_of_events:
            failed.append(index)
        elif reason == _CONDITION_FAILED and index == number_of_events and is_day_expected:
            is_day_missing = True
        elif reason in _BUSY_REASONS:
            is_busy = True
        else:
            refused.append(reason)
    if not (failed or is_busy or refused or is_day_missing):
        refused.append("no reason given")
    return Cancellation(tuple(failed), is_busy, tuple(refused), is_day_missing)


def is_throttle(response: Mapping[str, Any]) -> bool:
    """Whether an error answer says that a table or a partition key gets too many requests."""
    codes = {response.get("Error", {}).get("Code"), *reasons(response)}
    return not codes.isdisjoint(_THROTTLES)


def reasons(response: Mapping[str, Any]) -> list[str | None]:
    """The reason codes of a cancelled transaction: one per action, in order."""
    return [reason.get("Code") for reason in response.get("CancellationReasons", [])]
