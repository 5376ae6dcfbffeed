"""Listening sockets of the API."""

from __future__ import annotations

import socket

import pytest

from events.errors import InvalidInput
from events.server.binding import bind, check_host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_loopback_address_needs_no_keys(host: str) -> None:
    check_host(host, has_keys=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.5", "0", "::ffff:10.0.0.5"])
def test_without_keys_a_public_address_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_host(host, has_keys=False)
    assert str(caught.value) == (
        f"--host {host or '(empty)'} accepts other machines, but API keys are off "
        "(EVENTS_API_KEYS): set EVENTS_API_KEYS=on and create a key with python -m events keys "
        "create, or leave out --host"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_with_keys_a_public_address_is_allowed(host: str) -> None:
    check_host(host, has_keys=True)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 100, "\x00"])
def test_an_unknown_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="host not found"):
        check_host(host, has_keys=False)


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidInput) as caught:
            bind("127.0.0.1", port)
    assert str(caught.value) == (
        f"port {port} is already in use: stop the other program, or choose another port with --port"
    )
    (bound,) = bind("127.0.0.1", port)
    with bound, socket.create_connection(("127.0.0.1", port), timeout=1):
        assert bound.getsockname() == ("127.0.0.1", port)
        # asyncio sets TCP_NODELAY only on sockets with this protocol.
        assert bound.proto == socket.IPPROTO_TCP


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"cannot listen at 203\.0\.113\.1, port 8800"):
        bind("203.0.113.1", 8800)
