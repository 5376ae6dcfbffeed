"""Rate limits: what they count, for whom, and what a refusal says."""

from __future__ import annotations

import pytest

from events.api.security import RateLimit, address_of
from events.errors import TooManyRequests


def passes(limit: RateLimit, caller: str) -> bool:
    try:
        limit.hit(caller)
    except TooManyRequests:
        return False
    return True


def test_as_many_requests_pass_as_the_rate_says() -> None:
    limit = RateLimit("3/day", "per address")
    assert [passes(limit, "a") for _ in range(5)] == [True, True, True, False, False]


def test_each_caller_has_its_own_window() -> None:
    limit = RateLimit("1/day", "per address")
    assert [passes(limit, who) for who in ("a", "b", "a", "b")] == [True, True, False, False]


def test_an_empty_rate_is_no_limit() -> None:
    limit = RateLimit("", "per address")
    for _ in range(100):
        limit.hit("a")
        limit.check("a")


def test_check_counts_nothing() -> None:
    limit = RateLimit("2/day", "per address")
    limit.hit("a")
    for _ in range(5):
        limit.check("a")
    limit.hit("a")
    with pytest.raises(TooManyRequests):
        limit.check("a")
    limit.check("b")


@pytest.mark.parametrize(("rate", "seconds"), [("1/minute", 60), ("1/hour", 3_600)])
def test_a_refusal_names_the_limit_and_when_to_retry(rate: str, seconds: int) -> None:
    limit = RateLimit(rate, "per API key")
    limit.hit("a")
    with pytest.raises(TooManyRequests) as caught:
        limit.hit("a")
    period = rate.partition("/")[2]
    assert str(caught.value) == (
        f"Rate limit exceeded: 1 requests/{period} per API key. Retry after the seconds in the "
        "Retry-After header."
    )
    assert 1 <= caught.value.retry_after_seconds <= seconds


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
def test_ipv6_addresses_count_by_network(client: tuple[str, int] | None, address: str) -> None:
    assert address_of(client) == address
