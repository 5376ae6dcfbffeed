"""Many clients of the API at once; each sends the next request as soon as it has an answer."""

from __future__ import annotations

import http.client
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

#: Threads of one process share one core: with more of them the client would be what is measured.
_THREADS_A_PROCESS = 8
_MOST_PROCESSES = 4
#: Connections are open by then; the clock is one for all processes of a machine.
_SECONDS_TO_GET_READY = 0.3


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request, made beforehand.

    Args:
        body: JSON; None is a GET.
        answer: What a good answer, which has the status 200, begins with.
    """

    path: str
    body: bytes | None
    answer: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """What some requests took: all together in seconds, and each in milliseconds."""

    seconds: float
    milliseconds: Sequence[float]


class Clients:
    """Processes that stay, so that their start is in no figure."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def send(self, port: int, requests: Sequence[Request], *, clients: int) -> Sent:
        """
        Send all requests, each by one of the clients, over a connection that it keeps open.

        Raises:
            RuntimeError: An answer is not the one that is right.
        """
        shares = [requests[client::clients] for client in range(clients)]
        processes = -(-clients // _THREADS_A_PROCESS)
        start_at = time.monotonic() + _SECONDS_TO_GET_READY
        parts = [
            self._pool.submit(_send, port, shares[process::processes], start_at)
            for process in range(processes)
        ]
        found = [part.result() for part in parts]
        return Sent(
            max(end for _, end, _ in found) - min(begin for begin, _, _ in found),
            [item for _, _, milliseconds in found for item in milliseconds],
        )


@contextmanager
def clients() -> Iterator[Clients]:
    with ProcessPoolExecutor(
        _MOST_PROCESSES, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        for started in [pool.submit(time.sleep, 0.5) for _ in range(_MOST_PROCESSES)]:
            started.result()
        yield Clients(pool)


def _send(
    port: int, shares: Sequence[Sequence[Request]], start_at: float
) -> tuple[float, float, list[float]]:
    """One process: when it began, when it ended, what each request took."""
    milliseconds: list[float] = []
    errors: list[Exception] = []

    def run(share: Sequence[Request], connection: http.client.HTTPConnection) -> None:
        try:
            for request in share:
                if errors:
                    return
                milliseconds.append(_ask(connection, request))
        except Exception as exc:  # noqa: BLE001 - raised again below, in the main thread
            errors.append(exc)

    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in shares]
    for connection in connections:
        connection.connect()
    threads = [
        threading.Thread(target=run, args=pair) for pair in zip(shares, connections, strict=True)
    ]
    time.sleep(max(0.0, start_at - time.monotonic()))
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end = time.monotonic()
    for connection in connections:
        connection.close()
    if errors:
        raise errors[0]
    return begin, end, milliseconds


def _ask(connection: http.client.HTTPConnection, request: Request) -> float:
    begin = time.perf_counter()
    if request.body is None:
        connection.request("GET", request.path)
    else:
        connection.request("POST", request.path, request.body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read()
    took = (time.perf_counter() - begin) * 1000
    if response.status != 200 or not body.startswith(request.answer):
        raise RuntimeError(f"the API answered {response.status}: {body[:200]!r}")
    return took
