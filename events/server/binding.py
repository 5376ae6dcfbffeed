"""Addresses to listen at: this machine's own alone, while API keys are off."""

from __future__ import annotations

import errno
import socket

from events.config import Settings, is_loopback
from events.errors import InvalidInput

_BACKLOG = 2_048
#: The machine has no such address (a name may have several) or no such family.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def check_host(host: str, settings: Settings) -> None:
    """
    Refuse to be open to others without API keys.

    Raises:
        InvalidInput: So it would be, or there is no such host.
    """
    if settings.are_api_keys_on:
        return
    # No host at all is every address of the machine.
    open_to_others = [each for each in _addresses(host) if not is_loopback(each)] if host else [""]
    if open_to_others:
        raise InvalidInput(
            f"API keys are off (EVENTS_API_KEYS), so only this machine is served, and --host "
            f"{host or '(empty)'} is open to others: set EVENTS_API_KEYS=on and make a key with "
            "python -m events keys create, or leave --host out"
        )


def bind(host: str, port: int) -> list[socket.socket]:
    """
    Sockets that listen at each address of a host.

    Raises:
        InvalidInput: The port is taken, or the host is not this machine.
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for address in _addresses(host):
            try:
                sockets.append(_listen(address, port))
            except OSError as exc:
                if exc.errno not in _NOT_HERE:
                    raise
                absent = exc
        if not sockets and absent is not None:
            raise absent
    except OSError as exc:
        for each in sockets:
            each.close()
        if exc.errno == errno.EADDRINUSE:
            raise InvalidInput(
                f"port {port} is taken by another program: stop that, or choose another with --port"
            ) from exc
        raise InvalidInput(f"cannot listen at {host}, port {port}: {exc.strerror}") from exc
    return sockets


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # asyncio turns off Nagle's algorithm for sockets that name TCP alone; with it each answer on a
    # kept connection waits 40 ms for the client's delayed acknowledgement.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A port that was just closed may be used again; one that is open may not.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise InvalidInput(f"--host {host}: there is no such host") from exc
    # Without what is the same twice; the order stays.
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
