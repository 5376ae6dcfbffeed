"""Backoff and RetryPolicy on a fake clock."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from events.domain.retries import Backoff, RetryPolicy


@dataclass
class Clock:
    """A clock that only `sleep` or the test moves."""

    now: float = 1_000.0
    oversleeps: float = 0.0
    waits: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds + self.oversleeps


def policy(
    clock: Clock, patience_seconds: float, *, jitters: Iterator[float] | None = None
) -> RetryPolicy:
    return RetryPolicy(
        patience_seconds,
        base_seconds=1.0,
        cap_seconds=8.0,
        sleep=clock.sleep,
        clock=clock,
        jitter=(lambda: 1.0) if jitters is None else lambda: next(jitters),
    )


def test_waits_double_from_base_to_cap() -> None:
    clock = Clock()

    attempts = list(policy(clock, 31).attempts())

    assert attempts == [1, 2, 3, 4, 5, 6, 7]
    assert clock.waits == [1, 2, 4, 8, 8, 8]  # 31 s; the next 8 s would exceed the patience


def test_a_wait_that_would_exceed_the_patience_is_skipped() -> None:
    clock = Clock()

    attempts = list(policy(clock, 30.999).attempts())

    assert attempts == [1, 2, 3, 4, 5, 6]
    assert clock.now == 1_023


def test_jitter_scales_each_wait() -> None:
    clock = Clock()

    attempts = list(policy(clock, 100, jitters=iter([0.0, 0.5, 0.25, 0.75, 99.0])).attempts())

    assert attempts == [1, 2, 3, 4, 5]
    assert clock.waits == [0.0, 1.0, 1.0, 6.0]


def test_without_patience_there_is_one_attempt() -> None:
    clock = Clock()

    assert list(policy(clock, 0, jitters=iter([0.001])).attempts()) == [1]
    assert clock.waits == []


def test_time_spent_in_attempts_uses_up_the_patience() -> None:
    clock = Clock()
    started = []

    for attempt in policy(clock, 60).attempts():
        started.append((attempt, clock.now))
        clock.now += 20  # a request that times out

    assert started == [(1, 1_000), (2, 1_021), (3, 1_043)]


def test_no_attempt_starts_after_oversleeping_the_patience() -> None:
    clock = Clock(oversleeps=600)  # a closed laptop

    started = [clock.now for _ in policy(clock, 540).attempts()]

    assert started == [1_000]


def test_each_use_of_a_policy_has_its_own_patience() -> None:
    clock = Clock()
    retry = policy(clock, 1)

    assert list(retry.attempts()) == [1, 2]
    assert list(retry.attempts()) == [1, 2]


def test_default_waits_go_from_50_ms_to_2_s() -> None:
    clock = Clock()
    retry = RetryPolicy(9, sleep=clock.sleep, clock=clock, jitter=lambda: 1.0)

    assert list(retry.attempts()) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert clock.waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


@pytest.mark.parametrize("jitter", [RetryPolicy(1).jitter, Backoff().jitter])
def test_default_jitter_is_random(jitter: Callable[[], float]) -> None:
    values = [jitter() for _ in range(100)]

    assert all(0 <= value < 1 for value in values)
    assert len(set(values)) > 90


@pytest.mark.parametrize("seconds", [0, 540, 540.0])
def test_patience_may_last_as_long_as_a_client_token(seconds: float) -> None:
    assert RetryPolicy(seconds).patience_seconds == seconds


@pytest.mark.parametrize("seconds", [540.001, 600, -0.001, float("inf"), float("nan")])
def test_invalid_patience_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"invalid patience: .* use 0 to 540 s"):
        RetryPolicy(seconds)


def test_backoff_doubles_and_starts_again_after_reset() -> None:
    backoff = Backoff(0.5, 3.0, jitter=lambda: 1.0)

    assert [backoff.next_wait() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    backoff.reset()
    assert backoff.next_wait() == 0.5
