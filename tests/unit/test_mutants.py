"""The list of mutants fits the code and the tests as they are."""

import pytest

from tests.mutants import CHECKOUT, check
from tests.support.mutant import Mutant
from tests.support.mutants import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_a_mutant_changes_one_place_and_names_its_tests(mutant: Mutant) -> None:
    check(mutant)
    for test in mutant.tests.split():
        file, _, name = test.partition("::")
        assert f"def {name}" in (CHECKOUT / file).read_text(encoding="utf-8")


def test_each_rule_is_broken_once() -> None:
    assert len({mutant.rule for mutant in MUTANTS}) == len(MUTANTS) >= 20
