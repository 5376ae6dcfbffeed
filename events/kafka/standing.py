"""Where a group member stands: whether Kafka answers, and whether the group has let it in."""

from __future__ import annotations

import logging
from typing import Self

from confluent_kafka import KafkaError

from events.errors import StoreUnavailable
from events.kafka.clients import Cluster, membership_seconds

log = logging.getLogger(__name__)

#: A rebalance is logged only if it lasts longer; by default a new group waits 3 s for members.
_LOG_AFTER_SECONDS = 5.0
_AWAY = "Kafka does not answer"


class Standing:
    """
    Why a member reads nothing, if so. Times are on the monotonic clock.

    Args:
        killed_seconds: After how long the group removes a member that was killed.
        hanging_seconds: After how long it removes one that does not poll.
    """

    def __init__(self, group: str, *, killed_seconds: float, hanging_seconds: float) -> None:
        self._longest_rebalance_seconds = killed_seconds + hanging_seconds
        self._rebalancing = (
            f"waiting for partitions: the consumer group {group} rebalances until all its members "
            f"have joined again; it removes a killed member after {killed_seconds:g} s, and one "
            f"that hangs after {hanging_seconds:g} s"
        )
        #: Why Kafka cannot be used; None while it answers.
        self.failure: str | None = _AWAY
        self._has_joined = False
        self._is_wait_logged = False
        #: Since when Kafka fails, or else since when the group rebalances without this member.
        self._since = 0.0

    @classmethod
    def of(cls, cluster: Cluster, group: str) -> Self:
        """The standing of a new member of a group."""
        killed_seconds, hanging_seconds = membership_seconds(cluster)
        return cls(group, killed_seconds=killed_seconds, hanging_seconds=hanging_seconds)

    @property
    def problem(self) -> str | None:
        """Why nothing is read; None while all is well."""
        return self.failure or (None if self._has_joined else self._rebalancing)

    @property
    def may_recover(self) -> bool:
        """Whether an answer of any broker ends the failure; else only joining the group does."""
        return self._has_joined or self.failure == _AWAY

    def begin(self, now: float) -> None:
        """Kafka answers, or a member is about to join its group."""
        if self.failure and self._since:
            log.info("Kafka answers")
        self.failure, self._since = None, now

    def join(self, now: float) -> None:
        """The group assigned this member its partitions, maybe none."""
        self.begin(now)
        self._has_joined, self._is_wait_logged = True, False

    def lose(self, now: float) -> None:
        """The group removed this member."""
        self._has_joined, self._since = False, now

    def fail(self, error: KafkaError, now: float) -> None:
        is_away = error.code() == KafkaError._ALL_BROKERS_DOWN
        failure = _AWAY if is_away else f"Kafka says {error.name()}"
        if self.failure is None:
            log.warning("%s; retrying, no message is lost", failure)
            self._since = now
        self.failure = failure

    def step(self, now: float) -> None:
        """Log a long rebalance, once."""
        is_waiting = not self.failure and not self._has_joined
        if is_waiting and not self._is_wait_logged and now - self._since > _LOG_AFTER_SECONDS:
            log.warning("%s", self._rebalancing)
            self._is_wait_logged = True

    def check_patience(self, now: float, patience_seconds: float) -> None:
        """
        Raise `StoreUnavailable` if Kafka failed for longer than the patience.

        A rebalance may take as long as the group lets its other members be late.
        """
        if not self.failure:
            patience_seconds += self._longest_rebalance_seconds
        if self.problem and now - self._since > patience_seconds:
            raise StoreUnavailable(self.problem)
