"""What the store's answers mean, and how long a write is tried."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from events.dynamodb.answers import (
    Answer,
    Cancellation,
    RetryPolicy,
    judge_cancellation,
    judge_error,
)

FAILED = "ConditionalCheckFailed"
CONFLICT = "TransactionConflict"


# Errors


@pytest.mark.parametrize(
    ("code", "http_status", "answer"),
    [
        ("TransactionCanceledException", 400, Answer.CANCELLED),
        ("ResourceNotFoundException", 400, Answer.MAKE_TABLES),
        # The outcome is unknown, or another is at work on the same token.
        ("TransactionInProgressException", 400, Answer.RESEND),
        ("PriorRequestNotComplete", 400, Answer.RESEND),
        ("RequestTimeout", 400, Answer.RESEND),
        ("RequestTimeoutException", 400, Answer.RESEND),
        ("InternalServerError", 400, Answer.RESEND),
        ("InternalFailure", 400, Answer.RESEND),
        ("ServiceUnavailable", 400, Answer.RESEND),
        ("ServiceUnavailableException", 400, Answer.RESEND),
        # The store is busy.
        ("ProvisionedThroughputExceededException", 400, Answer.RESEND),
        ("ThrottlingException", 400, Answer.RESEND),
        ("Throttling", 400, Answer.RESEND),
        ("RequestLimitExceeded", 400, Answer.RESEND),
        ("SlowDown", 400, Answer.RESEND),
        ("TransactionConflictException", 400, Answer.RESEND),
        ("ReplicatedWriteConflictException", 400, Answer.RESEND),
        # Codes that nobody has heard of, or none: the status speaks.
        ("", 500, Answer.RESEND),
        ("502", 502, Answer.RESEND),
        ("NeverHeardOf", 599, Answer.RESEND),
        ("", 429, Answer.RESEND),
        ("NeverHeardOf", 400, Answer.REFUSE),
        ("", 404, Answer.REFUSE),
        ("ValidationException", 400, Answer.REFUSE),
        ("IdempotentParameterMismatchException", 400, Answer.REFUSE),
        ("AccessDeniedException", 400, Answer.REFUSE),
        ("UnrecognizedClientException", 400, Answer.REFUSE),
        ("ExpiredTokenException", 400, Answer.REFUSE),
        ("ItemCollectionSizeLimitExceededException", 400, Answer.REFUSE),
        ("ConditionalCheckFailedException", 400, Answer.REFUSE),
        ("RequestEntityTooLarge", 413, Answer.REFUSE),
        # Codes are compared whole and in their case.
        ("throttlingexception", 400, Answer.REFUSE),
        ("TransactionCanceledExceptions", 400, Answer.REFUSE),
    ],
)
def test_an_error_is_judged_by_its_code_and_status(
    code: str, http_status: int, answer: Answer
) -> None:
    assert judge_error(code, http_status) is answer


@pytest.mark.parametrize(
    ("reasons", "puts", "cancellation"),
    [
        pytest.param(["None", FAILED, "None"], 2, Cancellation((1,), False, ()), id="a duplicate"),
        pytest.param([None, FAILED, None], 2, Cancellation((1,), False, ()), id="no code at all"),
        pytest.param(
            [FAILED, "None", FAILED, "None"], 3, Cancellation((0, 2), False, ()), id="two of three"
        ),
        pytest.param(
            [FAILED, FAILED, "None"],
            2,
            Cancellation((0, 1), False, ()),
            id="nothing but duplicates",
        ),
        pytest.param(["None", CONFLICT], 1, Cancellation((), True, ()), id="conflict on a counter"),
        pytest.param(
            [FAILED, CONFLICT, "ThrottlingError"],
            2,
            Cancellation((0,), True, ()),
            id="a duplicate, and busy",
        ),
        pytest.param(
            ["ProvisionedThroughputExceeded", "None"],
            1,
            Cancellation((), True, ()),
            id="throughput",
        ),
        pytest.param(["RequestLimitExceeded"], 1, Cancellation((), True, ()), id="request limit"),
        pytest.param(["InternalServerError"], 1, Cancellation((), True, ()), id="server error"),
        pytest.param(
            [FAILED, CONFLICT, "ValidationError", "ItemCollectionSizeLimitExceeded"],
            2,
            Cancellation((0,), True, ("ValidationError", "ItemCollectionSizeLimitExceeded")),
            id="all at once",
        ),
        pytest.param(
            ["None", FAILED],
            1,
            Cancellation((), False, (FAILED,)),
            id="a condition where there is none",
        ),
        pytest.param(
            [FAILED, "None", FAILED],
            2,
            Cancellation((0,), False, (FAILED,)),
            id="a duplicate, and a condition where there is none",
        ),
        pytest.param(
            ["None", None], 2, Cancellation((), False, ("no reason given",)), id="only None"
        ),
        pytest.param([], 2, Cancellation((), False, ("no reason given",)), id="no reasons"),
        pytest.param(
            ["conditionalcheckfailed"],
            1,
            Cancellation((), False, ("conditionalcheckfailed",)),
            id="another case",
        ),
    ],
)
def test_a_cancellation_is_read_reason_by_reason(
    reasons: list[str | None], puts: int, cancellation: Cancellation
) -> None:
    assert judge_cancellation(reasons, puts) == cancellation


@pytest.mark.parametrize(
    ("reasons", "cancellation"),
    [
        (["None", FAILED, "None"], Cancellation((), False, (), is_day_gone=True)),
        ([FAILED, FAILED, "None"], Cancellation((0,), False, (), is_day_gone=True)),
        (["None", FAILED, CONFLICT], Cancellation((), True, (), is_day_gone=True)),
        ([FAILED, "None", "None"], Cancellation((0,), False, ())),
        (["None", "None", FAILED], Cancellation((), False, (FAILED,))),
    ],
)
def test_a_day_that_was_counted_on_may_be_gone(
    reasons: list[str | None], cancellation: Cancellation
) -> None:
    assert judge_cancellation(reasons, 1, is_day_expected=True) == cancellation


# Patience


@dataclass
class Clock:
    """A clock that only sleep moves, or the test."""

    now: float = 1_000.0
    oversleeps: float = 0.0
    waits: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds + self.oversleeps


def policy(
    clock: Clock,
    patience_seconds: float,
    *,
    draws: Iterator[float] | None = None,
    base_seconds: float = 1.0,
    cap_seconds: float = 8.0,
) -> RetryPolicy:
    return RetryPolicy(
        patience_seconds,
        base_seconds=base_seconds,
        cap_seconds=cap_seconds,
        sleep=clock.sleep,
        clock=clock,
        draw=(lambda: 1.0) if draws is None else lambda: next(draws),
    )


def test_waits_double_from_the_base_to_the_cap_and_end_with_the_patience() -> None:
    clock = Clock()

    attempts = list(policy(clock, 31).attempts())

    assert attempts == [1, 2, 3, 4, 5, 6, 7]
    assert clock.waits == [1, 2, 4, 8, 8, 8]  # 31 s; the next 8 would be beyond the patience


def test_a_wait_that_would_end_beyond_the_patience_is_not_begun() -> None:
    clock = Clock()

    attempts = list(policy(clock, 30.999).attempts())

    assert attempts == [1, 2, 3, 4, 5, 6]
    assert clock.now == 1_023


def test_a_wait_is_drawn_from_zero_to_its_bound() -> None:
    clock = Clock()

    attempts = list(policy(clock, 100, draws=iter([0.0, 0.5, 0.25, 0.75, 99.0])).attempts())

    assert attempts == [1, 2, 3, 4, 5]
    assert clock.waits == [0.0, 1.0, 1.0, 6.0]


def test_the_first_attempt_does_not_wait_even_without_patience() -> None:
    clock = Clock()

    assert list(policy(clock, 0, draws=iter([0.001])).attempts()) == [1]
    assert clock.waits == []


def test_the_time_that_attempts_take_is_part_of_the_patience() -> None:
    clock = Clock()
    begun = []

    for attempt in policy(clock, 60).attempts():
        begun.append((attempt, clock.now))
        clock.now += 20  # as a request that is not answered

    assert begun == [(1, 1_000), (2, 1_021), (3, 1_043)]


def test_no_attempt_begins_beyond_the_patience_after_a_sleep_that_took_too_long() -> None:
    clock = Clock(oversleeps=600)  # a laptop that was closed

    begun = [clock.now for _ in policy(clock, 540).attempts()]

    assert begun == [1_000]


def test_every_write_has_its_own_patience() -> None:
    clock = Clock()
    patient = policy(clock, 1)

    assert list(patient.attempts()) == [1, 2]
    assert list(patient.attempts()) == [1, 2]


def test_the_usual_bounds_are_50_milliseconds_and_2_seconds() -> None:
    clock = Clock()
    usual = RetryPolicy(9, sleep=clock.sleep, clock=clock, draw=lambda: 1.0)

    assert list(usual.attempts()) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert clock.waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_the_usual_draw_is_not_constant_and_below_one() -> None:
    draws = [RetryPolicy(1).draw() for _ in range(100)]

    assert all(0 <= draw < 1 for draw in draws)
    assert len(set(draws)) > 90


@pytest.mark.parametrize("seconds", [0, 540, 540.0])
def test_patience_lasts_as_long_as_a_client_token(seconds: float) -> None:
    assert RetryPolicy(seconds).patience_seconds == seconds


@pytest.mark.parametrize("seconds", [540.001, 600, -0.001, float("inf"), float("nan")])
def test_other_patience_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"must be from 0 to 540 s") as refused:
        RetryPolicy(seconds)

    assert str(refused.value) == (
        f"patience is {seconds} s; it must be from 0 to 540 s, "
        "as long as a client token is remembered"
    )
