"""Whether the store answers, asked by many and never for long."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from events.errors import StoreUnavailable


class Readiness:
    """
    One check at a time, in a thread of its own, for all who ask meanwhile.

    However many ask about a store that hangs, they hold one thread, and none of those in which
    requests are answered.

    Args:
        check: Raises an error of ours where the store is not well; it may take long.
        timeout_seconds: How long one who asks waits.
    """

    def __init__(self, check: Callable[[], None], *, timeout_seconds: float = 2) -> None:
        self._check = check
        self._timeout_seconds = timeout_seconds
        self._under_way: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """
        Return once the store has answered.

        Raises:
            StoreUnavailable: It did not in time.
            EventsError: What the check raised.
        """
        if self._under_way is None or self._under_way.done():
            self._under_way = self._begin()
        done, _ = await asyncio.wait([self._under_way], timeout=self._timeout_seconds)
        if not done:
            raise StoreUnavailable(
                f"the store did not answer a check within {self._timeout_seconds:g} s"
            )
        self._under_way.result()

    def _begin(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        # Whoever asked may be gone when it fails; then nobody needs to know.
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
            except Exception as exc:  # noqa: BLE001 - it is raised where it was asked for
                error = exc
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, error)

        # A daemon: a store that hangs keeps no process from its end.
        threading.Thread(target=run, name="readiness", daemon=True).start()
        return future


@dataclass(frozen=True, slots=True)
class Health:
    """
    Health of a process that serves no API, for probes; any thread may ask.

    Args:
        is_alive: False if the process hangs and should be restarted.
        problems: What is wrong, by name, as far as it is known without asking anybody.
        checks: Name → a check that raises an error of ours and may take long.
    """

    is_alive: Callable[[], bool]
    problems: Callable[[], Mapping[str, str]]
    checks: Mapping[str, Callable[[], None]] = field(default_factory=dict)
