"""How `verify` reports the result of a recount."""

from datetime import UTC, datetime

import pytest

from events import cli
from events.cli import verify
from events.models import Difference, Verification

DIFFERENCE = Difference("c", datetime(2021, 3, 1, tzinfo=UTC), None, counter=2, recount=1)
UNSETTLED = (("c", "2021-03-01"),)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (Verification(customers=1, days=1, events=3), cli.EXIT_OK),
        (Verification(), cli.EXIT_OK),
        (Verification(differences=(DIFFERENCE,)), cli.EXIT_DIFFERENT),
        (Verification(differences=(DIFFERENCE,), repaired=1), cli.EXIT_DIFFERENT),
        (Verification(foreign=(("c", "x"),)), cli.EXIT_DIFFERENT),
        (Verification(unlisted=("c",)), cli.EXIT_DIFFERENT),
        (Verification(unsettled=UNSETTLED), cli.EXIT_NOT_RUN),
        (Verification(unsettled=UNSETTLED, unlisted=("c",)), cli.EXIT_DIFFERENT),
    ],
)
def test_the_exit_code_tells_equal_different_and_unjudged_apart(
    result: Verification, code: int
) -> None:
    assert verify._exit_code(result) == code


def test_unjudged_hours_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    verify._print_summary(Verification(1, 2, 3, unsettled=UNSETTLED), 0.5)

    assert capsys.readouterr().out == (
        "customer c, day 2021-03-01: the counters of some hours kept changing, so these hours were "
        "not judged; run again when fewer events arrive\n"
        "1 customer, 2 days, 3 events recounted in 0.5 s: no counter differs, but see above\n"
    )
