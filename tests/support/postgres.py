"""A PostgreSQL server for tests, where this machine has its programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.support.shell import free_port

_SECONDS_TO_START = 60
_USER = "bill"


def programs() -> Path | None:
    """Where `initdb` and `postgres` are; None where they are not installed."""
    on_path = shutil.which("initdb")
    folders = [*([Path(on_path).parent] if on_path else []), *_debian()]
    return next((item for item in folders if (item / "postgres").exists()), None)


def _debian() -> list[Path]:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


class Server:
    """A PostgreSQL server on a folder of its own, which can be killed and started again."""

    def __init__(self, bin_folder: Path, folder: Path, options: Sequence[str]) -> None:
        self._bin_folder, self._folder = bin_folder, folder
        self._options = [part for option in options for part in ("-c", option)]
        # It refuses to run as root, which tests in a container often do.
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(folder, "nobody", "nogroup")
        subprocess.run(
            [
                *(bin_folder / "initdb", "-D", folder / "data", "-U", _USER, "--auth=trust"),
                *("-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            **self._user,
        )
        self._port = free_port()
        #: The URL up to the name of a database, for SQLAlchemy with psycopg.
        self.url = f"postgresql+psycopg://{_USER}@127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *(self._bin_folder / "postgres", "-D", self._folder / "data", "-k", self._folder),
                *("-h", "127.0.0.1", "-p", str(self._port), *self._options),
            ],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self._user,
        )
        _wait(self._process, self._port)

    def kill(self) -> None:
        """`kill -9` of all processes of the server at once."""
        server = psutil.Process(self._process.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(_SECONDS_TO_START)
        psutil.wait_procs(processes, _SECONDS_TO_START)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # it cuts connections, and ends in good order
        self._process.wait(_SECONDS_TO_START)


@contextmanager
def server(bin_folder: Path, *, options: Sequence[str] = ("fsync=off",)) -> Iterator[Server]:
    """A server with nothing in it, ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="events-postgres-"))
    try:
        server = Server(bin_folder, folder, options)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@contextmanager
def database(url: str) -> Iterator[str]:
    """The URL of a new database of a server, dropped afterwards."""
    name = f"bill_{uuid.uuid4().hex}"
    _run(url, f"CREATE DATABASE {name}")
    yield f"{url}/{name}"
    _run(url, f"DROP DATABASE {name} WITH (FORCE)")


def _run(url: str, statement: str) -> None:
    address = f"{url.replace('+psycopg', '')}/postgres"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.encode())


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while True:
        assert process.poll() is None, "PostgreSQL ended"
        try:
            psycopg.connect(f"postgresql://{_USER}@127.0.0.1:{port}/postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
