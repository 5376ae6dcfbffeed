"""Limits on requests: what they count, for whom, and how much they remember."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from events.api.ratelimits import MOST_WINDOWS, RateLimit, address_of
from events.errors import TooManyRequests


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def wait_of(limit: RateLimit, who: str) -> int | None:
    """How long a request has to wait; None where it may go on."""
    try:
        limit.hit(who)
    except TooManyRequests as exc:
        return exc.retry_after_seconds
    return None


def test_as_many_pass_as_the_rate_says_and_then_none_until_the_window_ends() -> None:
    clock = Clock()
    limit = RateLimit("3/minute", "requests", clock=clock)
    assert [wait_of(limit, "a") for _ in range(5)] == [None, None, None, 60, 60]
    clock.seconds += 59.1
    assert wait_of(limit, "a") == 1
    clock.seconds += 0.9
    assert [wait_of(limit, "a") for _ in range(4)] == [None, None, None, 60]


@pytest.mark.parametrize(
    ("rate", "seconds"), [("1/second", 1), ("1/minute", 60), ("1/hour", 3_600), ("1/day", 86_400)]
)
def test_a_window_is_as_long_as_its_name(rate: str, seconds: int) -> None:
    limit = RateLimit(rate, "requests", clock=Clock())
    assert [wait_of(limit, "a"), wait_of(limit, "a")] == [None, seconds]


def test_the_wait_is_a_whole_number_of_seconds_and_at_least_one() -> None:
    clock = Clock()
    limit = RateLimit("1/second", "requests", clock=clock)
    limit.hit("a")
    clock.seconds += 0.999
    assert wait_of(limit, "a") == 1


def test_each_caller_has_its_own_window() -> None:
    limit = RateLimit("1/second", "requests", clock=Clock())
    assert [wait_of(limit, who) for who in ("a", "b", "a", "b")] == [None, None, 1, 1]


def test_no_rate_is_no_limit() -> None:
    limit = RateLimit("", "requests", clock=Clock())
    for _ in range(1_000):
        limit.hit("a")
        limit.check("a")
    assert len(limit.windows) == 0


def test_a_check_says_whether_one_more_would_pass_and_counts_nothing() -> None:
    limit = RateLimit("2/minute", "requests", clock=Clock())
    limit.hit("a")
    for _ in range(5):
        limit.check("a")
    limit.hit("a")
    with pytest.raises(TooManyRequests) as caught:
        limit.check("a")
    assert caught.value.retry_after_seconds == 60
    limit.check("b")


def test_the_message_says_which_limit_it_is() -> None:
    limit = RateLimit("1/hour", "requests from one address", clock=Clock())
    limit.hit("a")
    with pytest.raises(TooManyRequests) as caught:
        limit.hit("a")
    assert str(caught.value) == (
        "no more requests from one address than 1/hour: wait as long as Retry-After says"
    )


def test_ended_windows_are_forgotten() -> None:
    clock = Clock()
    limit = RateLimit("1/minute", "requests", clock=clock)
    for place in range(100):
        limit.hit(f"old-{place}")
    clock.seconds += 60
    limit.hit("new")
    assert len(limit.windows) == 1


def test_memory_is_bounded_whoever_comes_and_the_oldest_window_goes_first() -> None:
    limit = RateLimit("1/day", "requests", clock=Clock())
    for place in range(MOST_WINDOWS + 1):
        limit.hit(f"a-{place}")
    assert len(limit.windows) == MOST_WINDOWS
    assert [wait_of(limit, f"a-{MOST_WINDOWS}"), wait_of(limit, "a-1")] == [86_400, 86_400]
    assert wait_of(limit, "a-0") is None


def test_threads_that_ask_at_once_pass_exactly_as_often_as_allowed() -> None:
    limit = RateLimit("100/day", "requests", clock=Clock())
    barrier = threading.Barrier(8)

    def ask(_: int) -> int:
        barrier.wait(10)
        return sum(wait_of(limit, "a") is None for _ in range(100))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 100


def test_no_thread_of_the_library_looks_after_the_windows() -> None:
    before = set(threading.enumerate())
    RateLimit("1/second", "requests").hit("a")
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::", 2), "2001:db8:1:2::/64"),
        (("2001:db8:1:3::", 2), "2001:db8:1:3::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("::1", 1), "::/64"),
        (("testclient", 1), "testclient"),
        (None, ""),
    ],
)
def test_an_address_counts_for_itself_and_in_ipv6_for_its_network(
    client: tuple[str, int] | None, address: str
) -> None:
    assert address_of(client) == address
