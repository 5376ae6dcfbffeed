"""Transactions that change events and their counters together: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from events.datamodels import Tables, event_item_key, is_voided, keys_of
from events.domain.retries import RetryPolicy
from events.domain.timestamps import day_of
from events.dynamodb.answers import judge_cancellation, old_items, reasons
from events.dynamodb.changelog import ChangeLog
from events.dynamodb.customers import Registry
from events.dynamodb.expressions import delete_actions, put_actions, void_actions
from events.dynamodb.requests import Requests, TransactionCancelled
from events.errors import StoreRefused
from events.models import Event, Outcome
from events.telemetry import metrics

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

Item = Mapping[str, Any]
#: Makes the actions of one transaction from events, their keys, and the current time.
_MakeActions = Callable[
    [Sequence[Event], Sequence[str], datetime], "list[TransactWriteItemTypeDef]"
]
#: Days remembered to have counters. Beyond this, all are forgotten and checked again.
_MAX_DAYS = 50_000


class _DayMissing(Exception):
    """A transaction required the day's counter, which does not exist. Nothing was written."""


class EventTransactions:
    """
    The three ways to change events and counters; safe to use from many threads.

    Each method takes distinct events of one customer and UTC day that fit one transaction (see
    `rollups.fitting`). Counters equal the stored events at every moment, whatever fails.

    Each method raises `StoreUnavailable` if some events may not be written (the same call again is
    safe), and `StoreRefused` if DynamoDB refuses them.
    """

    def __init__(
        self,
        requests: Requests,
        tables: Tables,
        registry: Registry,
        changes: ChangeLog,
        retry: RetryPolicy,
        *,
        now: Callable[[], datetime],
        new_token: Callable[[], str],
    ) -> None:
        self._requests = requests
        self._registry = registry
        self._changes = changes
        self._tables = tables
        self._retry = retry
        self._now = now
        self._new_token = new_token
        #: Customers and their days (proleptic ordinals) that had counters when last seen.
        self._days: set[tuple[str, int]] = set()

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        """Store and count events, each at most once forever; return the outcome of each."""
        # Register a customer before its first event. A customer whose counters exist is registered:
        # an erasure deletes the counters first.
        day = events[0].customer_id, events[0].timestamp.toordinal()
        if day in self._days:
            try:
                return self._put(events, is_day_expected=True)
            except _DayMissing:
                self._days.discard(day)
                self._registry.forget(events[0].customer_id)
        outcomes = self._put(events, is_day_expected=False)
        if len(self._days) >= _MAX_DAYS:
            self._days.clear()
        self._days.add(day)
        return outcomes

    def _put(self, events: Sequence[Event], *, is_day_expected: bool) -> list[Outcome]:
        stored = self._commit(
            events,
            partial(put_actions, self._tables, is_day_expected=is_day_expected),
            is_registered=is_day_expected,
            is_day_expected=is_day_expected,
        )
        outcomes = [Outcome.INSERTED] * len(events)
        for index, item in stored.items():
            outcomes[index] = Outcome.VOIDED if is_voided(item) else Outcome.DUPLICATE
        return outcomes

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        """Mark stored events as voided and uncount them; return the outcome of each."""
        if not self._may_be_stored(events):
            # Not even tried, because that would log the id of an erased customer as changed.
            return [Outcome.NOT_FOUND] * len(events)
        unchanged = self._commit(events, partial(void_actions, self._tables, reason=reason))
        outcomes = [Outcome.VOIDED] * len(events)
        for index, item in unchanged.items():
            outcomes[index] = Outcome.ALREADY_VOIDED if item else Outcome.NOT_FOUND
        return outcomes

    def _may_be_stored(self, events: Sequence[Event]) -> bool:
        """Whether the customer is registered or, if the registry lost it, any event is stored."""
        customer_id = events[0].customer_id
        return self._registry.is_listed(customer_id) or any(
            self._requests.get(self._tables.events, event_item_key(customer_id, key))
            for key in keys_of(events)
        )

    def delete(self, events: Sequence[Event]) -> int:
        """
        Delete events that are not voided and uncount them; return how many.

        For erasures, which leave no trace: the change log does not mention it.
        """
        actions = partial(delete_actions, self._tables)
        return len(events) - len(self._commit(events, actions, is_logged=False))

    def _commit(
        self,
        events: Sequence[Event],
        make_actions: _MakeActions,
        *,
        is_registered: bool = True,
        is_logged: bool = True,
        is_day_expected: bool = False,
    ) -> dict[int, Item]:
        """
        Commit all events whose condition holds.

        Args:
            is_registered: False registers the customer before each attempt.
            is_logged: Log the day as changed before each attempt.
            is_day_expected: The actions require the day's counter.

        Returns:
            The indexes of the events whose condition failed, with the items that exist in their
            place, empty if none does.
        """
        customer_id, day = events[0].customer_id, day_of(events[0].timestamp)

        def prepare() -> None:
            if not is_registered and self._registry.register_if_needed(customer_id):
                # The customer may have been erased, together with the log of this minute.
                self._changes.forget(customer_id, day)
            if is_logged:
                self._changes.ensure_logged(customer_id, day)

        keys = keys_of(events)
        failed: dict[int, Item] = {}
        remaining = list(range(len(events)))
        while remaining:
            actions = make_actions(
                [events[index] for index in remaining],
                [keys[index] for index in remaining],
                self._now(),
            )
            try:
                # One token per list of actions: if an answer is lost, the retry gets the outcome of
                # the first attempt. A new token would meet its own events as duplicates.
                answer = self._requests.send(
                    self._requests.client.transact_write_items,
                    before_attempt=prepare,
                    TransactItems=actions,
                    ClientRequestToken=self._new_token(),
                )
            except TransactionCancelled as exc:
                answer = exc.cause.response
                items = self._failed_items(exc.cause, len(remaining), is_day_expected)
                failed |= {remaining[index]: item for index, item in items.items()}
                # The next list counts only what it stores.
                remaining = [i for index, i in enumerate(remaining) if index not in items]
            else:
                metrics.TRANSACTION_ACTIONS.observe(len(actions))
                remaining = []
        if is_logged:
            self._changes.log_again_if_late(customer_id, day, answer)
        return failed

    def _failed_items(
        self, exc: ClientError, number_of_events: int, is_day_expected: bool
    ) -> dict[int, Item]:
        """The events whose condition failed, with the items that exist in their place."""
        why = judge_cancellation(reasons(exc), number_of_events, is_day_expected=is_day_expected)
        if why.refused:
            codes = ", ".join(sorted(set(why.refused)))
            raise StoreRefused(f"the store cancelled a write: {codes}") from exc
        if why.is_day_missing:
            raise _DayMissing from exc
        if why.is_busy:
            self._retry.wait_once()
        items = old_items(exc)
        return {index: items[index] for index in why.failed}
