"""`python -m events serve`: addresses and options that it refuses."""

from __future__ import annotations

import socket

import pytest

from tests.support.shell import Ran, Shell, free_port, is_open


@pytest.mark.parametrize("arguments", [("--host", "0.0.0.0"), ("--host", "::", "--workers", "2")])
def test_without_keys_a_public_address_is_refused(
    lone_shell: Shell, arguments: tuple[str, ...]
) -> None:
    port = free_port()

    ran = lone_shell.call("-m", "events", "serve", *arguments, "--port", str(port))

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(
        f"error: --host {arguments[1]} accepts other machines, but API keys are off"
    )
    assert ran.err.count("\n") == 1
    assert not is_open(port)


def test_a_port_in_use_is_reported(lone_shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = lone_shell.call("-m", "events", "serve", "--port", str(port))

    assert ran == Ran(
        2,
        "",
        f"error: port {port} is already in use: stop the other program, or choose another port "
        "with --port\n",
    )


def test_zero_workers_are_refused(lone_shell: Shell) -> None:
    ran = lone_shell.call("-m", "events", "serve", "--workers", "0")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == (
        "Error: Invalid value for '--workers': Input should be greater than or equal to 1"
    )
