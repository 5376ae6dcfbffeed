"""What `verify` makes of what a recount found."""

from datetime import UTC, datetime

import pytest

from events import cli
from events.cli import verify
from events.models import Difference, Verification

DIFFERENCE = Difference("c", datetime(2021, 3, 1, tzinfo=UTC), None, counter=2, recount=1)
UNSETTLED = (("c", "2021-03-01"),)


@pytest.mark.parametrize(
    ("found", "code"),
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
def test_the_exit_code_says_whether_something_differs_or_could_not_be_judged(
    found: Verification, code: int
) -> None:
    assert verify._exit_code(found) == code


def test_what_could_not_be_judged_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    verify._print_verification(Verification(1, 2, 3, unsettled=UNSETTLED), 0.5)

    assert capsys.readouterr().out == (
        "customer c, day 2021-03-01: counters of some hours kept moving, so nothing is said of "
        "those; run again when fewer events arrive\n"
        "1 customer, 2 days, 3 events recounted in 0.5 s: no counter differs, but see above\n"
    )
