"""Count consumers under test: in a thread, or as a process."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from events.config import Settings
from events.kafka.consume import Consumed, consume
from events.server.status import served
from events.service import EventService
from events.telemetry.health import Health
from tests.support.shell import TIMEOUT_SECONDS, Command, Shell, free_port

COUNTED = 'events_kafka_settled_total{outcome="counted"}'


class Probes:
    """Asks the probes of a consumer."""

    address = ""

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()

    def problems(self) -> dict[str, str]:
        """What `/readyz` says is wrong."""
        status, body = self.get("/readyz")
        problems: dict[str, str] = json.loads(body)
        assert (status, problems.pop("status")) in ((200, "ok"), (503, "waiting"))
        return problems

    def metric(self, name: str) -> float:
        """The number behind a name with its labels in `/metrics`; 0 if it is not there."""
        _, body = self.get("/metrics")
        lines = [line for line in body.splitlines() if line.startswith(f"{name} ")]
        return float(lines[0][len(name) + 1 :]) if lines else 0.0


class Process(Probes):
    """A consumer in a process of its own."""

    def __init__(self, shell: Shell, *arguments: str, settings: Mapping[str, str] | None) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.command: Command = shell.start(
            *("-m", "events", "consume", "--json", "--port", str(port), *arguments),
            settings=settings,
        )

    def counted(self) -> float:
        """Events that are stored and counted so far."""
        try:
            return self.metric(COUNTED)
        except OSError:  # it is only starting
            return 0


def start(shell: Shell, *arguments: str, settings: Mapping[str, str] | None = None) -> Process:
    return Process(shell, *arguments, settings=settings)


class Running(Probes):
    """A consumer in a thread, on a service of the test."""

    def __init__(self, settings: Settings, service: EventService, **options: Any) -> None:
        self.consumed: Consumed | None = None
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._is_served = threading.Event()
        self._thread = threading.Thread(
            target=self._run,
            args=(settings, service),
            kwargs={"patience_seconds": TIMEOUT_SECONDS, **options},
        )
        self._thread.start()
        assert self._is_served.wait(TIMEOUT_SECONDS)

    def _run(self, settings: Settings, service: EventService, **options: Any) -> None:
        try:
            self.consumed = consume(
                settings, service, is_stopping=self._stop.is_set, serve=self._serve, **options
            )
        except BaseException as exc:  # noqa: BLE001 - raised in `ended`
            self.error = exc
        finally:
            self._is_served.set()

    @contextmanager
    def _serve(self, health: Health) -> Iterator[None]:
        with served("127.0.0.1", 0, health) as port:
            self.address = f"http://127.0.0.1:{port}"
            self._is_served.set()
            yield

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
def running(settings: Settings, service: EventService, **options: Any) -> Iterator[Running]:
    """A consumer that is stopped at the end, whatever happens."""
    run = Running(settings, service, **options)
    try:
        yield run
    finally:
        run._stop.set()
        run._thread.join(TIMEOUT_SECONDS)
