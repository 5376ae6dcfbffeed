"""What DynamoDB's error answers mean."""

import pytest

from events.dynamodb.answers import Answer, Cancellation, judge_cancellation, judge_error

FAILED = "ConditionalCheckFailed"
CONFLICT = "TransactionConflict"


@pytest.mark.parametrize(
    ("code", "http_status", "answer"),
    [
        ("TransactionCanceledException", 400, Answer.CANCELLED),
        ("ResourceNotFoundException", 400, Answer.MISSING_TABLE),
        # The outcome is unknown, or another request with the same token is in progress.
        ("TransactionInProgressException", 400, Answer.RETRY),
        ("PriorRequestNotComplete", 400, Answer.RETRY),
        ("RequestTimeout", 400, Answer.RETRY),
        ("RequestTimeoutException", 400, Answer.RETRY),
        ("InternalServerError", 400, Answer.RETRY),
        ("InternalFailure", 400, Answer.RETRY),
        ("ServiceUnavailable", 400, Answer.RETRY),
        ("ServiceUnavailableException", 400, Answer.RETRY),
        # The store is busy.
        ("ProvisionedThroughputExceededException", 400, Answer.RETRY),
        ("ThrottlingException", 400, Answer.RETRY),
        ("Throttling", 400, Answer.RETRY),
        ("RequestLimitExceeded", 400, Answer.RETRY),
        ("SlowDown", 400, Answer.RETRY),
        ("TransactionConflictException", 400, Answer.RETRY),
        ("ReplicatedWriteConflictException", 400, Answer.RETRY),
        # Unknown or missing codes: the HTTP status decides.
        ("", 500, Answer.RETRY),
        ("502", 502, Answer.RETRY),
        ("UnknownCode", 599, Answer.RETRY),
        ("", 429, Answer.RETRY),
        ("UnknownCode", 400, Answer.REFUSED),
        ("", 404, Answer.REFUSED),
        ("ValidationException", 400, Answer.REFUSED),
        ("IdempotentParameterMismatchException", 400, Answer.REFUSED),
        ("AccessDeniedException", 400, Answer.REFUSED),
        ("UnrecognizedClientException", 400, Answer.REFUSED),
        ("ExpiredTokenException", 400, Answer.REFUSED),
        ("ItemCollectionSizeLimitExceededException", 400, Answer.REFUSED),
        ("ConditionalCheckFailedException", 400, Answer.REFUSED),
        ("RequestEntityTooLarge", 413, Answer.REFUSED),
        # Codes are compared whole and case-sensitively.
        ("throttlingexception", 400, Answer.REFUSED),
        ("TransactionCanceledExceptions", 400, Answer.REFUSED),
    ],
)
def test_code_and_status_decide_what_an_error_means(
    code: str, http_status: int, answer: Answer
) -> None:
    assert judge_error(code, http_status) is answer


@pytest.mark.parametrize(
    ("reasons", "puts", "cancellation"),
    [
        pytest.param(["None", FAILED, "None"], 2, Cancellation((1,), False, ()), id="duplicate"),
        pytest.param([None, FAILED, None], 2, Cancellation((1,), False, ()), id="missing code"),
        pytest.param(
            [FAILED, "None", FAILED, "None"], 3, Cancellation((0, 2), False, ()), id="two of three"
        ),
        pytest.param(
            [FAILED, FAILED, "None"],
            2,
            Cancellation((0, 1), False, ()),
            id="only duplicates",
        ),
        pytest.param(["None", CONFLICT], 1, Cancellation((), True, ()), id="conflict on a counter"),
        pytest.param(
            [FAILED, CONFLICT, "ThrottlingError"],
            2,
            Cancellation((0,), True, ()),
            id="duplicate and busy",
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
            id="everything at once",
        ),
        pytest.param(
            ["None", FAILED],
            1,
            Cancellation((), False, (FAILED,)),
            id="failed condition on an unconditional action",
        ),
        pytest.param(
            [FAILED, "None", FAILED],
            2,
            Cancellation((0,), False, (FAILED,)),
            id="duplicate and failed condition on an unconditional action",
        ),
        pytest.param(
            ["None", None], 2, Cancellation((), False, ("no reason given",)), id="only None"
        ),
        pytest.param([], 2, Cancellation((), False, ("no reason given",)), id="no reasons"),
        pytest.param(
            ["conditionalcheckfailed"],
            1,
            Cancellation((), False, ("conditionalcheckfailed",)),
            id="wrong case",
        ),
    ],
)
def test_each_cancellation_reason_counts(
    reasons: list[str | None], puts: int, cancellation: Cancellation
) -> None:
    assert judge_cancellation(reasons, puts) == cancellation


@pytest.mark.parametrize(
    ("reasons", "cancellation"),
    [
        (["None", FAILED, "None"], Cancellation((), False, (), is_day_missing=True)),
        ([FAILED, FAILED, "None"], Cancellation((0,), False, (), is_day_missing=True)),
        (["None", FAILED, CONFLICT], Cancellation((), True, (), is_day_missing=True)),
        ([FAILED, "None", "None"], Cancellation((0,), False, ())),
        (["None", "None", FAILED], Cancellation((), False, (FAILED,))),
    ],
)
def test_a_failed_condition_on_the_day_is_told_apart(
    reasons: list[str | None], cancellation: Cancellation
) -> None:
    assert judge_cancellation(reasons, 1, is_day_expected=True) == cancellation
