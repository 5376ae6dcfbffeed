"""When to try again what does not work yet; pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """
    Times of the next attempts, without an end to them.

    The wait is drawn evenly from 0 to a bound that doubles ("full jitter", as `RetryPolicy`);
    nothing here sleeps, so that whoever waits can go on polling.
    """

    base_seconds: float = 0.05
    cap_seconds: float = 10.0
    draw: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    _bound: float = 0.0

    def next_at(self, now: float) -> float:
        """When to try again, after an attempt that failed."""
        self._bound = min(max(2 * self._bound, self.base_seconds), self.cap_seconds)
        return now + self.draw() * self._bound

    def reset(self) -> None:
        """It works again."""
        self._bound = 0.0
