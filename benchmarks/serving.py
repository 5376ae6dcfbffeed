"""The API in processes of its own, on a port that is free."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measuring import CHECKOUT, environment_of
from events.config import Settings
from events.local.javaserver import free_port

_START_TIMEOUT_SECONDS = 60
#: Each has its own interpreter to start, and the first that is ready answers for all.
_OTHER_WORKERS_SECONDS = 1.5


@contextmanager
def api(settings: Settings, *, workers: int = 1) -> Iterator[int]:
    """
    The API on the tables of `settings`, without limits of requests.

    Yields:
        Its port, once it answers.
    """
    port = free_port()
    process = subprocess.Popen(
        _command(port, workers),
        cwd=CHECKOUT,
        env={
            **environment_of(settings),
            "EVENTS_RATE_PER_ADDRESS": "",
            "EVENTS_RATE_PER_KEY": "",
        },
    )
    try:
        _wait_until_ready(port, process)
        if workers > 1:
            time.sleep(_OTHER_WORKERS_SECONDS)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def _command(port: int, workers: int) -> list[str]:
    options = ["--port", str(port), "--workers", str(workers)]
    return [sys.executable, "-m", "events", "serve", *options]


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:  # nothing listens yet
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise RuntimeError(f"the API did not start within {_START_TIMEOUT_SECONDS} s")
