"""Health checks of stores and brokers, shared by all callers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
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
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        # If all callers are gone when the check fails, nobody reads its error: do not warn.
        future.add_done_callback(lambda done: done.exception())

        def settle(error: BaseException | None) -> None:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        def run() -> None:
            error = None
            try:
                self._check()
            except Exception as exc:  # noqa: BLE001 - raised in `wait`
                error = exc
            with contextlib.suppress(RuntimeError):  # the loop may be closed already
                loop.call_soon_threadsafe(settle, error)

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
