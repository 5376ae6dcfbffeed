"""A count consumer in a thread of the test, on a service of the test."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from events.config import Settings
from events.kafka.consume import Consumed, consume
from events.service import EventService

TIMEOUT_SECONDS = 60.0


class Running:
    """A consumer under way."""

    def __init__(self, settings: Settings, service: EventService, **more: Any) -> None:
        self.address = ""
        self.consumed: Consumed | None = None
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._has_address = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(settings, service), kwargs=more)
        self._thread.start()
        assert self._has_address.wait(TIMEOUT_SECONDS)

    def _run(self, settings: Settings, service: EventService, **more: Any) -> None:
        try:
            self.consumed = consume(
                settings,
                service,
                address=("127.0.0.1", 0),
                is_stopping=self._stop.is_set,
                on_address=self._on_address,
                **more,
            )
        except BaseException as exc:  # noqa: BLE001 - raised where it is waited for
            self.error = exc
        finally:
            self._has_address.set()

    def _on_address(self, host: str, port: int) -> None:
        self.address = f"http://{host}:{port}"
        self._has_address.set()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()

    def problems(self) -> dict[str, str]:
        """What `/readyz` says is wrong."""
        status, body = self.get("/readyz")
        found: dict[str, str] = json.loads(body)
        assert (status, found.pop("status")) in ((200, "ok"), (503, "waiting"))
        return found

    def measure(self, line: str) -> float:
        """The number behind a name and its labels in `/metrics`; 0 where there is none."""
        _, body = self.get("/metrics")
        return next(
            (
                float(each[len(line) + 1 :])
                for each in body.splitlines()
                if each.startswith(line + " ")
            ),
            0.0,
        )

    def stop(self) -> Consumed:
        self._stop.set()
        return self.ended()

    def ended(self) -> Consumed:
        self._thread.join(TIMEOUT_SECONDS)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        assert self.consumed is not None
        return self.consumed


@contextmanager
def running(settings: Settings, service: EventService, **more: Any) -> Iterator[Running]:
    """A consumer that is stopped at the end, whatever happens."""
    run = Running(settings, service, **more)
    try:
        yield run
    finally:
        run._stop.set()
        run._thread.join(TIMEOUT_SECONDS)
