"""Where the API may listen."""

from __future__ import annotations

import socket

import pytest

from events.config import Settings
from events.errors import InvalidInput
from events.server.binding import bind, check_host

OFF, ON = Settings(), Settings(events_api_keys="on")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_no_keys(host: str) -> None:
    check_host(host, OFF)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.5", "0", "::ffff:10.0.0.5"])
def test_without_keys_it_is_not_open_to_others(host: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_host(host, OFF)
    assert str(caught.value) == (
        "API keys are off (EVENTS_API_KEYS), so only this machine is served, and --host "
        f"{host or '(empty)'} is open to others: set EVENTS_API_KEYS=on and make a key with "
        "python -m events keys create, or leave --host out"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_with_keys_it_may_be(host: str) -> None:
    check_host(host, ON)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 100, "\x00"])
def test_a_host_that_is_not_there_is_said(host: str) -> None:
    with pytest.raises(InvalidInput, match="there is no such host"):
        check_host(host, OFF)


def test_a_port_is_bound_at_each_address_and_a_taken_one_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidInput) as caught:
            bind("127.0.0.1", port)
    assert str(caught.value) == (
        f"port {port} is taken by another program: stop that, or choose another with --port"
    )
    (bound,) = bind("127.0.0.1", port)
    with bound, socket.create_connection(("127.0.0.1", port), timeout=1):
        assert bound.getsockname() == ("127.0.0.1", port)
        # asyncio looks at this before it turns off the wait for fuller packets.
        assert bound.proto == socket.IPPROTO_TCP


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(InvalidInput, match=r"cannot listen at 203\.0\.113\.1, port 8800"):
        bind("203.0.113.1", 8800)
