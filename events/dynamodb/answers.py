"""What an error answer of DynamoDB means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

#: The longest that one request can be on its way: the client's two time-outs, and some more.
LONGEST_REQUEST_SECONDS = 20.0

_CONDITION_FAILED = "ConditionalCheckFailed"
_PASSING_REASONS = frozenset(
    {
        "TransactionConflict",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "RequestLimitExceeded",
        "InternalServerError",
    }
)
_PASSING_CODES = frozenset(
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


class Answer(Enum):
    """What an error answer asks for."""

    #: The outcome is unknown, or the store is busy: the same request again, with the same token.
    RESEND = "resend"
    #: The tables are not there: make them, then the same request again.
    MAKE_TABLES = "make tables"
    #: A transaction was cancelled, for reasons that `judge_cancellation` reads.
    CANCELLED = "cancelled"
    #: The same request would fail again.
    REFUSE = "refuse"


def judge_error(code: str, http_status: int) -> Answer:
    """What an error answer asks for, by its code and status; its message is never looked at."""
    if code == "TransactionCanceledException":
        return Answer.CANCELLED
    if code == "ResourceNotFoundException":
        return Answer.MAKE_TABLES
    if code in _PASSING_CODES or http_status >= 500 or http_status == 429:
        return Answer.RESEND
    return Answer.REFUSE


@dataclass(frozen=True, slots=True)
class Cancellation:
    """
    Why a transaction was cancelled.

    Args:
        failed: Places of the events whose condition does not hold, ascending.
        is_busy: Some action met a conflict or a throttle: wait before the next attempt.
        refused: Reason codes that no retry mends; empty where the rest can go on.
        is_day_gone: The day's counter, on which the transaction counted, is not there.
    """

    failed: tuple[int, ...]
    is_busy: bool
    refused: tuple[str, ...]
    is_day_gone: bool = False


def judge_cancellation(
    reasons: Sequence[str | None], number_of_events: int, *, is_day_expected: bool = False
) -> Cancellation:
    """
    Read the reasons of a cancelled transaction, one for each action in order.

    A failed condition where there is none is refused, as is a cancellation that gives no reason at
    all.

    Args:
        number_of_events: The first actions, which have conditions.
        is_day_expected: The next one, the day's counter, has a condition too.
    """
    failed, refused, is_busy, is_day_gone = [], [], False, False
    for place, reason in enumerate(reasons):
        if reason is None or reason == "None":
            continue
        if reason == _CONDITION_FAILED and place < number_of_events:
            failed.append(place)
        elif reason == _CONDITION_FAILED and place == number_of_events and is_day_expected:
            is_day_gone = True
        elif reason in _PASSING_REASONS:
            is_busy = True
        else:
            refused.append(reason)
    if not (failed or is_busy or refused or is_day_gone):
        refused.append("no reason given")
    return Cancellation(tuple(failed), is_busy, tuple(refused), is_day_gone)
