"""What DynamoDB's error answers mean."""

import pytest

from events.dynamodb.answers import Answer, Cancellation, judge_cancellation, judge_error

FAILED = "ConditionalCheckFailed"
CONFLICT = "TransactionConflict"


@pytest.mark.parametrize(
    ("code", "http_status", "answer"),
    [
        ("TransactionCanceledException", 400, Answer.CANCELLED),
        ("ResourceNotFoundException", 400, Answer.MAKE_TABLES),
        # The outcome is unknown, or another request with the same token is in progress.
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
        # Unknown or missing codes: the HTTP status decides.
        ("", 500, Answer.RESEND),
        ("502", 502, Answer.RESEND),
        ("UnknownCode", 599, Answer.RESEND),
        ("", 429, Answer.RESEND),
        ("UnknownCode", 400, Answer.REFUSE),
        ("", 404, Answer.REFUSE),
        ("ValidationException", 400, Answer.REFUSE),
        ("IdempotentParameterMismatchException", 400, Answer.REFUSE),
        ("AccessDeniedException", 400, Answer.REFUSE),
        ("UnrecognizedClientException", 400, Answer.REFUSE),
        ("ExpiredTokenException", 400, Answer.REFUSE),
        ("ItemCollectionSizeLimitExceededException", 400, Answer.REFUSE),
        ("ConditionalCheckFailedException", 400, Answer.REFUSE),
        ("RequestEntityTooLarge", 413, Answer.REFUSE),
        # Codes are compared whole and case-sensitively.
        ("throttlingexception", 400, Answer.REFUSE),
        ("TransactionCanceledExceptions", 400, Answer.REFUSE),
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
        (["None", FAILED, "None"], Cancellation((), False, (), is_day_gone=True)),
        ([FAILED, FAILED, "None"], Cancellation((0,), False, (), is_day_gone=True)),
        (["None", FAILED, CONFLICT], Cancellation((), True, (), is_day_gone=True)),
        ([FAILED, "None", "None"], Cancellation((0,), False, ())),
        (["None", "None", FAILED], Cancellation((), False, (FAILED,))),
    ],
)
def test_a_failed_condition_on_the_day_is_told_apart(
    reasons: list[str | None], cancellation: Cancellation
) -> None:
    assert judge_cancellation(reasons, 1, is_day_expected=True) == cancellation
