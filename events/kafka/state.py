"""What others may know of a consumer while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class State:
    """Each field is written by the consumer alone."""

    #: When its loop last turned, by the monotonic clock.
    turned_at: float = field(default_factory=time.monotonic)
    is_stopping: bool = False
    #: None while all is well.
    store_problem: str | None = None
    kafka_problem: str | None = "no partition was assigned yet"

    def turn(self) -> None:
        """Note that the loop turned."""
        self.turned_at = time.monotonic()
