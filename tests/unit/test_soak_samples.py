"""Bounds of the soak: flat memory and a steady lag pass, a leak and a growing lag fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.samples import Sample, lag_bound, memory_bound, quarters

COUNT = 40


def samples(resident: Callable[[int], int]) -> list[Sample]:
    return [Sample(5.0 * turn, {"it": resident(turn)}, {}, 0, 0.0) for turn in range(COUNT)]


def test_quarters_are_all_samples_in_order() -> None:
    found = quarters(samples(lambda turn: turn))
    assert [one.at for quarter in found for one in quarter] == [5.0 * n for n in range(COUNT)]
    assert [len(quarter) for quarter in found] == [10, 10, 10, 10]


@pytest.mark.parametrize(
    ("resident", "is_kept"),
    [
        (lambda _: 100, True),
        # It fills its buffers at the start.
        (lambda turn: min(100, 10 + turn * 10), True),
        (lambda turn: 100 + turn % 7, True),
        (lambda turn: 100 + turn, False),
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
        (lambda turn: 5_000 - turn * 100, True),
        (lambda turn: turn % 10 * 1_000, True),
        (lambda turn: turn * 500, False),
    ],
    ids=["steady", "less and less", "up and down", "more and more"],
)
def test_a_lag_may_not_grow_in_the_second_half(lag: Callable[[int], int], is_kept: bool) -> None:
    points = [(5.0 * turn, lag(turn)) for turn in range(COUNT)]
    assert lag_bound("it", points, 1_000).is_kept is is_kept
