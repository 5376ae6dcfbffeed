"""One Kafka for the whole run, shared by all xdist workers, and a proxy that cuts it off."""

from __future__ import annotations

import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

from events.local import kafka
from events.local.javaserver import LocalServerError
from tests.support.shell import free_port

#: A worker that crashed is waited for no longer.
_MAX_SECONDS = 1_200


class Broker(NamedTuple):
    """
    Ports of a running Kafka.

    `behind_proxy` takes connections for the address 127.0.0.1:`proxy`, where nothing listens until
    a test opens a `Proxy`.
    """

    port: int
    behind_proxy: int
    proxy: int

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def started() -> Iterator[Broker]:
    """A Kafka of its own in a temporary folder."""
    broker = Broker(free_port(), free_port(), free_port())
    controller = free_port()
    listeners = {
        "listeners": f"BROKER://127.0.0.1:{broker.port},"
        f"PROXIED://127.0.0.1:{broker.behind_proxy},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"BROKER://127.0.0.1:{broker.port},"
        f"PROXIED://127.0.0.1:{broker.proxy}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
    }
    try:
        server = kafka.start(port=broker.port, properties=listeners)
    except LocalServerError as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Kafka: {exc}")
    with server:
        yield broker


@contextmanager
def shared(folder: Path) -> Iterator[Broker]:
    """
    The Kafka of all processes that name the same folder.

    The first process starts it, and waits at its end until no other uses it.
    """
    file, lock = folder / "broker.json", FileLock(folder / "broker.lock")
    with lock:
        users = json.loads(file.read_text()) if file.exists() else {}
        if not users:
            own = started()
            broker = own.__enter__()
        else:
            own, broker = None, Broker(*users["broker"])
        _add_user(file, broker, 1)
    try:
        yield broker
    finally:
        with lock:
            _add_user(file, broker, -1)
        if own is not None:
            deadline = time.monotonic() + _MAX_SECONDS
            while _users(file, lock) > 0 and time.monotonic() < deadline:
                time.sleep(0.2)
            with lock:
                file.unlink()
            own.__exit__(None, None, None)


def _users(file: Path, lock: FileLock) -> int:
    with lock:  # another process may be writing the file
        number: int = json.loads(file.read_text())["users"]
    return number


def _add_user(file: Path, broker: Broker, number: int) -> None:
    users = json.loads(file.read_text())["users"] if file.exists() else 0
    file.write_text(json.dumps({"broker": broker, "users": users + number}))


class Proxy:
    """
    Forwards TCP connections to Kafka while it is open; closed, Kafka looks like a stopped broker.

    A context manager that may be opened again.
    """

    def __init__(self, broker: Broker) -> None:
        self._port, self._target = broker.proxy, broker.behind_proxy

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._is_open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr] # all are sockets
        self._selector.close()

    def _run(self) -> None:
        while self._is_open:
            for key, _ in self._selector.select(0.05):
                if key.fileobj is self._listener:
                    self._connect()
                else:
                    self._forward(key.fileobj, key.data)  # type: ignore[arg-type] # a socket

    def _connect(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        self._selector.register(client, selectors.EVENT_READ, server)
        self._selector.register(server, selectors.EVENT_READ, client)

    def _changed(self, data: bytes) -> bytes:
        """What is sent in place of these bytes."""
        return data

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        if source.fileno() == -1:
            return  # both ends were readable, and the other one was at its end
        with suppress(OSError):
            if data := source.recv(65_536):
                target.sendall(self._changed(data))
                return
        for end in (source, target):
            self._selector.unregister(end)
            end.close()


class SpoilingProxy(Proxy):
    """Holds the message `first` until `second` follows; then sends both, the first one damaged."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self._held = b""
        self.is_holding = threading.Event()
        self._is_done = False

    def _changed(self, data: bytes) -> bytes:
        if b"first" in data and not self._held:
            self._held = data
            self.is_holding.set()
            return b""
        if b"second" in data and not self._is_done:
            self._is_done = True
            # Its checksum no longer fits, so Kafka rejects the first message and stores the second.
            return self._held.replace(b"first", b"wrong") + data
        return data
