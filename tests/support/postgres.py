"""A PostgreSQL server for tests, where this machine has its programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


@contextmanager
def server(bin_folder: Path) -> Iterator[str]:
    """
    A server with nothing in it, ended and removed afterwards.

    Returns:
        The URL of it, up to the name of a database, for SQLAlchemy with psycopg.
    """
    folder = Path(tempfile.mkdtemp(prefix="events-postgres-"))
    # It refuses to run as root, which tests in a container often do.
    user: dict[str, Any] = {}
    if os.getuid() == 0:
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(folder, "nobody", "nogroup")
    try:
        subprocess.run(
            [
                *(bin_folder / "initdb", "-D", folder / "data", "-U", _USER, "--auth=trust"),
                *("-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            **user,
        )
        port = free_port()
        process = subprocess.Popen(
            [
                *(bin_folder / "postgres", "-D", folder / "data", "-k", folder),
                *("-h", "127.0.0.1", "-p", str(port), "-c", "fsync=off"),
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **user,
        )
        try:
            _wait(process, port)
            yield f"postgresql+psycopg://{_USER}@127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)  # it cuts connections, and ends in good order
            process.wait(_SECONDS_TO_START)
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
