"""Health checks of stores and brokers, shared by all callers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from events.errors import StoreUnavailable


class Readiness:
    """
    Runs one check at a time, in its own thread, for all callers that arrive meanwhile.

    However many health checks arrive while a store hangs, they hold one thread, and none of the
    threads that answer requests.

    Args:
        check: Raises an `EventsError` if the store is not healthy; may take long.
        timeout_seconds: How long one caller waits.
    """

    def __init__(self, check: Callable[[], None], *, timeout_seconds: float = 2) -> None:
        self._check = check
        self._timeout_seconds = timeout_seconds
        self._running: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """
        Return once the check has passed.

        Raises:
            StoreUnavailable: The check did not finish in time.
            EventsError: Raised by the check.
        """
        if self._running is None or self._running.done():
            self._running = self._start()
        done, _ = await asyncio.wait([self._running], timeout=self._timeout_seconds)
        if not done:
            raise StoreUnavailable(
                f"the store did not answer a health check within {self._timeout_seconds:g} s"
            )
        self._running.result()

    def _start(self) -> asyncio.Future[None]:
        checked: Future[None] = Future()

        def run() -> None:
            try:
                self._check()
            except Exception as exc:  # noqa: BLE001 - raised in `wait`
                checked.set_exception(exc)
            else:
                checked.set_result(None)

        future = asyncio.wrap_future(checked)
        # If all callers are gone when the check fails, nobody reads its error: do not warn.
        future.add_done_callback(lambda done: done.exception())
        # A daemon thread, so that a store that hangs does not keep the process from exiting.
        threading.Thread(target=run, name="readiness", daemon=True).start()
        return future


@dataclass(frozen=True, slots=True)
class Health:
    """
    Health of a process without an API. Safe to use from any thread.

    Args:
        is_alive: False if the process hangs and should be restarted.
        problems: Problems that are known without asking a store or broker, by name.
        checks: By name, checks that raise an `EventsError` and may take long.
    """

    is_alive: Callable[[], bool]
    problems: Callable[[], Mapping[str, str]]
    checks: Mapping[str, Callable[[], None]] = field(default_factory=dict)
