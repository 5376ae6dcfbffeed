"""Retries: exponential backoff with full jitter, with or without a time limit."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

#: DynamoDB remembers a client token for ten minutes (API Reference, TransactWriteItems,
#: ClientRequestToken). A retry after that would report its own events as duplicates.
MAX_PATIENCE_SECONDS = 540.0


def _random() -> Callable[[], float]:
    return random.SystemRandom().random


@dataclass(slots=True)
class Backoff:
    """
    Waits between attempts of work that is retried forever.

    Each wait is random between 0 and a bound that doubles from `base_seconds` to `cap_seconds`
    (AWS Architecture Blog, "Exponential Backoff And Jitter"). `Backoff` never sleeps, so a caller
    can keep polling while it waits.

    Args:
        jitter: A random number in [0, 1).
    """

    base_seconds: float = 0.05
    cap_seconds: float = 10.0
    jitter: Callable[[], float] = field(default_factory=_random)
    _bound: float = field(default=0.0, init=False)

    def next_wait(self) -> float:
        """Seconds to wait after one more failed attempt."""
        self._bound = min(max(2 * self._bound, self.base_seconds), self.cap_seconds)
        return self.jitter() * self._bound

    def reset(self) -> None:
        """Start again from `base_seconds`, after an attempt that succeeded."""
        self._bound = 0.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries within a time limit, with the waits of `Backoff`."""

    #: No attempt starts later than this after the first; at most 540.
    patience_seconds: float
    base_seconds: float = 0.05
    cap_seconds: float = 2.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = field(default_factory=_random)

    def __post_init__(self) -> None:
        if not 0 <= self.patience_seconds <= MAX_PATIENCE_SECONDS:
            raise ValueError(
                f"invalid patience: {self.patience_seconds} s; use 0 to {MAX_PATIENCE_SECONDS:g} s "
                "(DynamoDB forgets a client token after ten minutes)"
            )

    def attempts(self) -> Iterator[int]:
        """Count attempts from 1, waiting before each one but the first, until patience ends."""
        deadline = self.clock() + self.patience_seconds
        backoff = Backoff(self.base_seconds, self.cap_seconds, self.jitter)
        attempt = 1
        while True:
            yield attempt
            wait = backoff.next_wait()
            if self.clock() + wait > deadline:
                return
            self.sleep(wait)
            if self.clock() > deadline:  # overslept: a closed laptop, a stopped process
                return
            attempt += 1

    def wait_once(self) -> None:
        """Wait as before a second attempt."""
        self.sleep(self.jitter() * self.base_seconds)
