"""What a store's answer to a write means, and how long to go on trying."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

#: A client token names the same write for ten minutes (API Reference, TransactWriteItems,
#: ClientRequestToken). A resend after that would take its own events for duplicates.
LONGEST_PATIENCE_SECONDS = 540.0

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


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    How long to go on trying, and how long to wait between attempts.

    The wait is drawn evenly from 0 to a bound that doubles from `base_seconds` to `cap_seconds`
    ("full jitter", AWS Architecture Blog, "Exponential Backoff And Jitter").

    Args:
        patience_seconds: No attempt begins later than this after the first; at most 540.
    """

    patience_seconds: float
    base_seconds: float = 0.05
    cap_seconds: float = 2.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)

    def __post_init__(self) -> None:
        if not 0 <= self.patience_seconds <= LONGEST_PATIENCE_SECONDS:
            raise ValueError(
                f"patience is {self.patience_seconds} s; it must be from 0 to "
                f"{LONGEST_PATIENCE_SECONDS:g} s, as long as a client token is remembered"
            )

    def attempts(self) -> Iterator[int]:
        """Numbers of attempts from 1; waits before each but the first, ends with the patience."""
        deadline = self.clock() + self.patience_seconds
        bound = self.base_seconds
        attempt = 1
        while True:
            yield attempt
            wait = self.draw() * bound
            if self.clock() + wait > deadline:
                return
            self.sleep(wait)
            if self.clock() > deadline:  # overslept: a closed laptop, a stopped process
                return
            bound = min(2 * bound, self.cap_seconds)
            attempt += 1
