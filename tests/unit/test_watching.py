"""What samples of a long run say: flat memory and a steady lag pass, a leak and a stall do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.watching import Sample, lag_bound, memory_bound, quarters

COUNT = 40


def samples(resident: Callable[[int], int]) -> list[Sample]:
    return [Sample(5.0 * each, {"it": resident(each)}, {}, 0, 0.0) for each in range(COUNT)]


def test_quarters_are_all_samples_in_order() -> None:
    found = quarters(samples(lambda each: each))
    assert [each.at for quarter in found for each in quarter] == [5.0 * n for n in range(COUNT)]
    assert [len(each) for each in found] == [10, 10, 10, 10]


@pytest.mark.parametrize(
    ("resident", "is_kept"),
    [
        (lambda _: 100, True),
        # It fills its buffers at the begin.
        (lambda each: min(100, 10 + each * 10), True),
        (lambda each: 100 + each % 7, True),
        (lambda each: 100 + each, False),
    ],
    ids=["flat", "filled", "up and down", "leak"],
)
def test_memory_may_not_grow_from_the_second_quarter_to_the_last(
    resident: Callable[[int], int], is_kept: bool
) -> None:
    assert memory_bound(samples(resident), "it").is_kept is is_kept


@pytest.mark.parametrize(
    ("lag", "is_kept"),
    [
        (lambda _: 500, True),
        (lambda each: 5_000 - each * 100, True),
        (lambda each: each % 10 * 1_000, True),
        (lambda each: each * 500, False),
    ],
    ids=["steady", "less and less", "up and down", "more and more"],
)
def test_a_lag_may_not_grow_in_the_second_half(lag: Callable[[int], int], is_kept: bool) -> None:
    points = [(5.0 * each, lag(each)) for each in range(COUNT)]
    assert lag_bound("it", points, 1_000).is_kept is is_kept
