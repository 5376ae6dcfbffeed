"""Dead letters, sent until each is acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from events.errors import EventsError, InvalidEvent
from events.kafka.backoff import Backoff
from events.kafka.messages import Message, Record, dead_letter, shortened
from events.kafka.sender import Sender, TooLargeForKafka

log = logging.getLogger(__name__)


class _Letter(NamedTuple):
    record: Record
    acknowledged: Callable[[], None]


class Letters:
    """
    The letters under way. One thread uses it.

    Args:
        sender: Has no end to its patience: what fails was refused.
        topic: Where they go.
    """

    def __init__(self, sender: Sender, topic: str, *, backoff: Backoff | None = None) -> None:
        self._sender = sender
        self._topic = topic
        self._backoff = backoff or Backoff()
        self._failed: list[_Letter] = []
        self._retry_at = 0.0
        self.open = 0
        #: Why a letter was refused last; None while they are taken.
        self.problem: EventsError | None = None

    def send(self, message: Message, error: InvalidEvent, acknowledged: Callable[[], None]) -> None:
        self.open += 1
        self._send(_Letter(dead_letter(message, self._topic, error), acknowledged))

    def step(self, now: float) -> None:
        """Call back for what is acknowledged, and send again what was refused."""
        self._sender.poll(0)
        if self._failed and now >= self._retry_at:
            failed, self._failed = self._failed, []
            for letter in failed:
                self._send(letter)

    def _send(self, letter: _Letter) -> None:
        def done(error: EventsError | None) -> None:
            if error is not None:
                self._fail(letter, error)
                return
            self.open -= 1
            if self.problem is not None:
                log.info("dead letters are taken again")
            self.problem = None
            self._backoff.reset()
            letter.acknowledged()

        try:
            self._sender.send(letter.record, done)
        except EventsError as exc:
            self._fail(letter, exc)

    def _fail(self, letter: _Letter, error: EventsError) -> None:
        if isinstance(error, TooLargeForKafka):
            shorter = shortened(letter.record)
            if shorter is not None:
                self._send(letter._replace(record=shorter))
                return
        if self.problem is None:
            log.warning("a dead letter is sent again until it is taken: %s", error)
        self.problem = error
        self._failed.append(letter)
        self._retry_at = self._backoff.next_at(time.monotonic())
