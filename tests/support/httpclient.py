"""HTTP clients and a served API, for tests of the service under load."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

from events.models import Event
from tests.support.api import documents
from tests.support.factories import HOUR_ZERO
from tests.support.shell import Command, Shell, is_open, until

Json = dict[str, Any]
DAY = "/events/customers/acme/buckets?start=2021-03-01&end=2021-03-02"
NO_LIMITS = {
    "EVENTS_RATE_PER_ADDRESS": "",
    "EVENTS_RATE_PER_KEY": "",
    "EVENTS_LOG_LEVEL": "warning",
}


def row(number: int, customer: str = "acme") -> Event:
    at = HOUR_ZERO + timedelta(minutes=number % 1440, microseconds=number)
    return Event(customer, f"e{number % 2}", f"t-{number}", at)


def body_of(rows: Sequence[Event]) -> bytes:
    return json.dumps({"events": documents(*rows)}).encode()


class Client:
    """Sends requests on one connection, and opens a new one when it breaks."""

    def __init__(self, port: int, timeout_seconds: float = 60) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Json]:
        type_ = {"Content-Type": "application/json"} if body is not None else {}
        try:
            self._connection.request(
                method,
                path,
                body,
                type_ | {name.replace("_", "-"): value for name, value in headers.items()},
                encode_chunked="Transfer_Encoding" in headers,
            )
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except BaseException:
            self._connection.close()
            raise

    def send(self, rows: Sequence[Event]) -> tuple[int, Json]:
        return self.request("POST", "/events", body_of(rows))

    def close(self) -> None:
        self._connection.close()


def send_until_stored(
    port: int, batches: Sequence[Sequence[Event]], seen: Counter[str] | None = None
) -> Counter[str]:
    """
    Send as a good client does: the same request again after a 503, or after no answer.

    Returns:
        How often each status came, also in `seen`; "no answer" stands for a broken connection.
    """
    seen = Counter() if seen is None else seen
    with closing(Client(port)) as client:
        for batch in batches:
            while True:
                try:
                    status, answer = client.send(batch)
                except (OSError, http.client.HTTPException):
                    seen["no answer"] += 1
                    time.sleep(0.05)
                    continue
                seen[str(status)] += 1
                if status == 200:
                    assert answer["rejected"] == 0
                    break
                assert status == 503, answer
                time.sleep(0.05)
    return seen


def batches_of(rows: Sequence[Event], size: int) -> list[Sequence[Event]]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def serve(shell: Shell, port: int, *arguments: str, **settings: str) -> Command:
    command = shell.start(
        "-m", "events", "serve", "--port", str(port), *arguments, settings=NO_LIMITS | settings
    )
    until(lambda: is_open(port) or not command.is_running())
    assert command.is_running(), command.err
    return command
