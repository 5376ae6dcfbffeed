"""Transactions that change events and their counters together: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from events.datamodels import Tables, counter_item_key, customer_of, event_item_key
from events.domain.retries import RetryPolicy
from events.domain.timestamps import day_of
from events.dynamodb.answers import judge_cancellation, reasons
from events.dynamodb.changelog import ChangeLog
from events.dynamodb.customers import Registry
from events.dynamodb.expressions import (
    Action,
    delete_actions,
    open_actions,
    put_actions,
    void_actions,
)
from events.dynamodb.requests import Requests, TransactionCancelled
from events.errors import StoreRefused
from events.models import Event, Outcome
from events.telemetry import metrics

Item = Mapping[str, Any]
#: Makes the actions of one transaction from events and the current time.
_MakeActions = Callable[[Sequence[Event], datetime], list[Action]]
#: Days remembered to have counters. Beyond this, all are forgotten and checked again.
_MAX_DAYS = 50_000


class DayDiffers(Exception):
    """The day has no counter, or another number of shards, than required. Nothing was written."""


@dataclass(eq=False)
class EventTransactions:
    """
    The three ways to change events and counters; safe to use from many threads.

    Each method takes distinct events of one partition and UTC day that fit one transaction (see
    `expressions.fitting`). Counters equal the stored events at every moment, whatever fails. An
    event's `customer_id` is its partition key: see `datamodels.shard_key`.

    Each method raises `StoreUnavailable` if some events may not be written (the same call again is
    safe), and `StoreRefused` if DynamoDB refuses them.
    """

    requests: Requests
    tables: Tables
    registry: Registry
    changes: ChangeLog
    retry: RetryPolicy
    now: Callable[[], datetime]
    new_token: Callable[[], str]
    #: Called with a customer and each failed attempt to change its counters.
    on_failure: Callable[[str, Exception], None] = lambda *_: None
    #: Customers and their days (proleptic ordinals) that had counters when last seen, in one shard.
    _days: set[tuple[str, int]] = field(default_factory=set, init=False)

    def has_counters(self, customer_id: str, ordinal: int) -> bool:
        """Whether a day that is not spread over shards had counters when last seen."""
        return (customer_id, ordinal) in self._days

    def write(self, events: Sequence[Event], shards: int = 1) -> list[Outcome]:
        """
        Store and count events, each at most once forever; return the outcome of each.

        Raises:
            DayDiffers: The day has another number of shards.
        """
        # Register a customer before its first event. A customer whose counters exist is registered:
        # an erasure deletes the counters first.
        partition = events[0].customer_id
        if shards > 1:
            try:
                return self._put(events, is_day_expected=True, shards=shards)
            except DayDiffers:
                self.registry.forget(customer_of(partition))
                self.open_shard(partition, day_of(events[0].timestamp), shards)
            return self._put(events, is_day_expected=True, shards=shards)
        day = partition, events[0].timestamp.toordinal()
        if day in self._days:
            try:
                return self._put(events, is_day_expected=True)
            except DayDiffers:
                self._days.discard(day)
                self.registry.forget(partition)
        outcomes = self._put(events, is_day_expected=False)
        if len(self._days) >= _MAX_DAYS:
            self._days.clear()
        self._days.add(day)
        return outcomes

    def open_shard(
        self, partition: str, day: str, shards: int, *, is_restoring: bool = False
    ) -> None:
        """
        Store a day's number of shards, and allow writes to one of them (see `open_actions`).

        Raises:
            DayDiffers: The day has another number of shards, or counters in one.
        """
        token = self.new_token()
        actions = open_actions(
            self.tables, partition, day, shards, token=token, is_restoring=is_restoring
        )
        try:
            self.requests.send(
                self.requests.client.transact_write_items,
                before_attempt=partial(self._prepare, customer_of(partition), day),
                TransactItems=actions,
                ClientRequestToken=token,
            )
        except TransactionCancelled as exc:
            self._failed_items(exc, len(actions), is_day_expected=False)
            raise DayDiffers from exc

    def _put(
        self, events: Sequence[Event], *, is_day_expected: bool, shards: int = 1
    ) -> list[Outcome]:
        stored = self._commit(
            events,
            partial(put_actions, self.tables, is_day_expected=is_day_expected, shards=shards),
            is_registered=is_day_expected,
            is_day_conditional=True,
        )
        outcomes = [Outcome.INSERTED] * len(events)
        for index, item in stored.items():
            outcomes[index] = Outcome.VOIDED if "voided_at" in item else Outcome.DUPLICATE
        return outcomes

    def void(self, events: Sequence[Event], reason: str, shards: int = 1) -> list[Outcome]:
        """
        Mark stored events as voided and uncount them; return the outcome of each.

        Raises:
            DayDiffers: The day is spread over several shards, and `shards` is 1.
        """
        if not self._may_be_stored(events):
            # Not even tried, because that would log the id of an erased customer as changed.
            return [Outcome.NOT_FOUND] * len(events)
        is_whole = shards == 1
        unchanged = self._commit(
            events,
            partial(void_actions, self.tables, reason=reason, is_whole=is_whole),
            is_day_conditional=is_whole,
        )
        outcomes = [Outcome.VOIDED] * len(events)
        for index, item in unchanged.items():
            outcomes[index] = Outcome.ALREADY_VOIDED if item else Outcome.NOT_FOUND
        return outcomes

    def expect(self, events: Sequence[Event]) -> None:
        """Events of different days that are written soon."""
        self.changes.expect((event.customer_id, day_of(event.timestamp)) for event in events)

    def _may_be_stored(self, events: Sequence[Event]) -> bool:
        """Whether the customer is registered or, if the registry lost it, has such a day."""
        customer_id, day = customer_of(events[0].customer_id), day_of(events[0].timestamp)
        total = counter_item_key(customer_id, day, None)
        return (
            self.registry.is_listed(customer_id)
            or any(self.requests.get(self.tables.events, event_item_key(event)) for event in events)
            or bool(self.requests.get(self.tables.counts, total))
        )

    def delete(self, events: Sequence[Event]) -> int:
        """
        Delete events that are not voided and uncount them; return how many.

        For erasures, which leave no trace: the change log does not mention it.
        """
        actions = partial(delete_actions, self.tables)
        return len(events) - len(self._commit(events, actions, is_logged=False))

    def _prepare(
        self, customer_id: str, day: str, *, is_registered: bool = False, is_logged: bool = True
    ) -> None:
        """What comes before each attempt to change a day's counters."""
        if not is_registered and self.registry.register_if_needed(customer_id):
            # The customer may have been erased, together with its part of the log.
            self.changes.forget(customer_id)
        if is_logged:
            self.changes.ensure_logged(customer_id, day)

    def _commit(
        self,
        events: Sequence[Event],
        make_actions: _MakeActions,
        *,
        is_registered: bool = True,
        is_logged: bool = True,
        is_day_conditional: bool = False,
    ) -> dict[int, Item]:
        """
        Commit all events whose condition holds.

        Args:
            is_registered: False registers the customer before each attempt.
            is_logged: Log the day as changed before each attempt.
            is_day_conditional: The action on the day's total has a condition.

        Returns:
            The indexes of the events whose condition failed, with the items that exist in their
            place, empty if none does.
        """
        customer_id, day = customer_of(events[0].customer_id), day_of(events[0].timestamp)
        prepare = partial(
            self._prepare, customer_id, day, is_registered=is_registered, is_logged=is_logged
        )
        failed: dict[int, Item] = {}
        remaining = list(range(len(events)))
        while remaining:
            actions = make_actions([events[index] for index in remaining], self.now())
            try:
                # One token per list of actions: if an answer is lost, the retry gets the outcome of
                # the first attempt. A new token would meet its own events as duplicates.
                answer = self.requests.send(
                    self.requests.client.transact_write_items,
                    before_attempt=prepare,
                    on_failure=partial(self.on_failure, customer_id),
                    TransactItems=actions,
                    ClientRequestToken=self.new_token(),
                )
            except TransactionCancelled as exc:
                answer = exc.response
                items = self._failed_items(exc, len(remaining), is_day_expected=is_day_conditional)
                failed |= {remaining[index]: item for index, item in items.items()}
                # The next list counts only what it stores.
                remaining = [i for index, i in enumerate(remaining) if index not in items]
            else:
                metrics.TRANSACTION_ACTIONS.observe(len(actions))
                remaining = []
        if is_logged:
            self.changes.log_again_if_late(customer_id, day, answer)
        return failed

    def _failed_items(
        self, exc: TransactionCancelled, number_of_events: int, *, is_day_expected: bool
    ) -> dict[int, Item]:
        """The events whose condition failed, with the items that exist in their place."""
        why = judge_cancellation(
            reasons(exc.response), number_of_events, is_day_expected=is_day_expected
        )
        if why.refused:
            codes = ", ".join(sorted(set(why.refused)))
            raise StoreRefused(f"the store cancelled a write: {codes}") from exc
        if why.is_day_missing:
            raise DayDiffers from exc
        if why.is_busy:
            self.retry.wait_once()
        actions = exc.response["CancellationReasons"]
        return {index: actions[index].get("Item", {}) for index in why.failed}
