"""Listening sockets: on loopback addresses only while API keys are off."""

from __future__ import annotations

import errno
import os
import socket

from events.api.middleware import is_loopback
from events.errors import InvalidInput

_BACKLOG = 2_048
#: This machine does not have the address, of which a name may have several, or the family.
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def check_host(host: str, *, has_keys: bool) -> None:
    """
    Refuse to listen on a public address without API keys.

    Raises:
        InvalidInput: The address is public, or the host does not exist.
    """
    # An empty host means every address of this machine.
    if has_keys or (host and all(map(is_loopback, _addresses(host)))):
        return
    raise InvalidInput(
        f"--host {host or '(empty)'} accepts other machines, but API keys are off "
        "(EVENTS_API_KEYS): set EVENTS_API_KEYS=on and create a key with python -m events keys "
        "create, or leave out --host"
    )


def bind(host: str, port: int) -> list[socket.socket]:
    """
    Listen at each address of a host.

    Raises:
        InvalidInput: The port is in use, or the host is not this machine.
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for address in _addresses(host):
            try:
                sockets.append(_listen(address, port))
            except OSError as exc:
                if exc.errno not in _ABSENT:
                    raise
                absent = exc
        if not sockets and absent is not None:
            raise absent
    except OSError as exc:
        for listening in sockets:
            listening.close()
        if exc.errno == errno.EADDRINUSE:
            raise InvalidInput(
                f"port {port} is already in use: stop the other program, or choose another port "
                "with --port"
            ) from exc
        reason = os.strerror(exc.errno or 0)
        raise InvalidInput(f"cannot listen at {host}, port {port}: {reason}") from exc
    return sockets


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.create_server((address, port), family=family, backlog=_BACKLOG)
    # asyncio sets TCP_NODELAY only on sockets that name TCP. Without it, each answer on a kept
    # connection waits 40 ms for the client's delayed acknowledgement.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=server.detach())


def _addresses(host: str) -> list[str]:
    try:
        results = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise InvalidInput(f"--host {host}: host not found") from exc
    return list(dict.fromkeys(str(address[0]) for *_, address in results))
