"""Transactions: events together with what they add to the counters, all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from events.datamodels import Tables, is_voided, keys_of
from events.domain.retries import RetryPolicy
from events.domain.windows import day_of
from events.dynamodb.answers import Answer, judge_cancellation
from events.dynamodb.changelog import ChangeLog
from events.dynamodb.customers import Registry
from events.dynamodb.expressions import delete_actions, put_actions, void_actions
from events.dynamodb.requests import (
    UNKNOWN_OUTCOME,
    Calls,
    code_of,
    judge,
    not_sent,
    old_items,
    reasons,
    refused,
)
from events.errors import StoreRefused, StoreUnavailable
from events.models import Event, Outcome
from events.telemetry import metrics

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

Item = Mapping[str, Any]
#: Makes the actions for some events and their keys, at a time.
_Actions = Callable[[Sequence[Event], Sequence[str], datetime], "list[TransactWriteItemTypeDef]"]
#: Customer, and day as a proleptic ordinal.
_Day = tuple[str, int]
#: Days remembered as counted; past that all are forgotten, and listed again as they come.
_MOST_DAYS = 50_000


class _DayIsGone(Exception):
    """The day's counter, on which a transaction counted, is not there: nothing was written."""


class Commits:
    """
    The three ways in which events and counters change; safe to use from many threads.

    Each takes distinct events of one customer and UTC day, with one action for each, one for the
    day and one for each event type at most `MAX_ACTIONS`. At no moment, whatever fails, does a
    counter differ from the events stored. Before a counter changes, its day is on the list of
    changes; see `ChangeLog`.

    All raise `StoreUnavailable` when some may not be done, and the same call again is safe; and
    `StoreRefused` when the store will not do them.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        calls: Calls,
        registry: Registry,
        changes: ChangeLog,
        tables: Tables,
        retry: RetryPolicy,
        *,
        now: Callable[[], datetime],
        new_token: Callable[[], str],
    ) -> None:
        self._client = client
        self._calls = calls
        self._registry = registry
        self._changes = changes
        self._tables = tables
        self._retry = retry
        self._now = now
        self._new_token = new_token
        #: Days whose counters were there. Set operations on it are atomic.
        self._days: set[_Day] = set()

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        """Store events and count them, each at most once for ever; the outcome of each in order."""
        # A customer is listed before it is counted. One whose counter of this day is still there
        # is listed: an erasure takes the counters away first.
        day = events[0].customer_id, events[0].timestamp.toordinal()
        try:
            outcomes = self._write(events, listed=None if day in self._days else day[0])
        except _DayIsGone:
            self._days.discard(day)
            self._registry.forget(day[0])
            outcomes = self._write(events, listed=day[0])
        if len(self._days) >= _MOST_DAYS:
            self._days.clear()
        self._days.add(day)
        return outcomes

    def _write(self, events: Sequence[Event], *, listed: str | None) -> list[Outcome]:
        is_day_expected = listed is None
        actions = partial(put_actions, self._tables, is_day_expected=is_day_expected)
        outcomes = [Outcome.INSERTED] * len(events)
        found = self._commit(events, actions, listed=listed, is_day_expected=is_day_expected)
        for place, item in found.items():
            outcomes[place] = Outcome.VOIDED if is_voided(item) else Outcome.DUPLICATE
        return outcomes

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        """Mark stored events as voided and take them out of the counts; each outcome in order."""
        if not self._may_be_stored(events):
            # Not even tried: its day would be listed before, with the id of an erased customer.
            return [Outcome.NOT_FOUND] * len(events)
        actions = partial(void_actions, self._tables, reason=reason)
        outcomes = [Outcome.VOIDED] * len(events)
        for place, item in self._commit(events, actions).items():
            outcomes[place] = Outcome.ALREADY_VOIDED if item else Outcome.NOT_FOUND
        return outcomes

    def _may_be_stored(self, events: Sequence[Event]) -> bool:
        """Whether the customer is listed, or any of its events is stored though it is not."""
        customer_id = events[0].customer_id
        return self._registry.is_listed(customer_id) or any(
            "Item"
            in self._calls.one(
                self._client.get_item,
                TableName=self._tables.events,
                Key={"customer_id": {"S": customer_id}, "event_key": {"S": key}},
                ConsistentRead=True,
            )
            for key in keys_of(events)
        )

    def delete(self, events: Sequence[Event]) -> int:
        """
        Delete events that are not voided and take them out of the counts; returns how many.

        For an erasure: it leaves no trace, so it is on no list of changes.
        """
        actions = partial(delete_actions, self._tables)
        return len(events) - len(self._commit(events, actions, is_told=False))

    def _commit(
        self,
        events: Sequence[Event],
        make: _Actions,
        *,
        listed: str | None = None,
        is_day_expected: bool = False,
        is_told: bool = True,
    ) -> dict[int, Item]:
        """
        Commit what can be of some events.

        Args:
            listed: The customer that must be listed before each attempt, if any.
            is_day_expected: The actions have a condition on the day's counter.
            is_told: The day must be on the list of changes before each attempt.

        Returns:
            The places of those whose condition does not hold, with the items that stand in their
            way (empty where there is none). All others are committed.
        """
        keys = keys_of(events)
        changed = (events[0].customer_id, day_of(events[0].timestamp)) if is_told else None
        failed: dict[int, Item] = {}
        left = list(range(len(events)))
        while left:
            actions = make([events[i] for i in left], [keys[i] for i in left], self._now())
            found = self._transact(
                actions,
                len(left),
                listed=listed,
                changed=changed,
                is_day_expected=is_day_expected,
            )
            if not found:
                break
            failed |= {left[place]: item for place, item in found.items()}
            # What these would have added goes with them: the counters are folded anew.
            left = [i for place, i in enumerate(left) if place not in found]
        return failed

    def _transact(
        self,
        actions: list[TransactWriteItemTypeDef],
        number_of_events: int,
        *,
        listed: str | None,
        changed: tuple[str, str] | None,
        is_day_expected: bool,
    ) -> dict[int, Item]:
        """
        Commit one list of actions, or find the events that stand in its way.

        One token for one list: after a lost answer the resend gets the outcome of the first
        send, instead of meeting its own events as duplicates.

        Returns:
            Empty if all is committed; else the places of the events whose condition failed with
            their items, and nothing is.

        Raises:
            _DayIsGone: So it is, and nothing is committed.
        """
        token = self._new_token()
        failure: Exception | None = None
        failed: dict[int, Item] = {}
        for attempt in self._retry.attempts():
            if failed:
                return failed
            if attempt > 1:
                metrics.STORE_RETRIES.labels(code_of(failure)).inc()
            try:
                if listed is not None:
                    self._registry.ensure(listed)
                if changed is not None:
                    self._changes.ensure(*changed)
                done = self._client.transact_write_items(
                    TransactItems=actions, ClientRequestToken=token
                )
            except ClientError as exc:
                answer = judge(exc)
                if answer is Answer.REFUSE:
                    raise refused("writing", exc) from exc
                if answer is Answer.CANCELLED:
                    codes = reasons(exc)
                    metrics.TRANSACTION_CONFLICTS.inc("TransactionConflict" in codes)
                    why = judge_cancellation(
                        codes, number_of_events, is_day_expected=is_day_expected
                    )
                    if why.refused:
                        raise StoreRefused(
                            f"the store cancelled a write: {', '.join(sorted(set(why.refused)))}"
                        ) from exc
                    if why.is_day_gone:
                        raise _DayIsGone from exc
                    items = old_items(exc)
                    failed = {place: items[place] for place in why.failed}
                    if failed and not why.is_busy:
                        return failed
                elif answer is Answer.MAKE_TABLES:
                    self._calls.make_missing_tables(exc)
                    if listed is not None:
                        self._registry.forget(listed)
                    if changed is not None:
                        self._changes.forget(*changed)
                failure = exc
            except StoreUnavailable as exc:  # of the listing
                failure = exc.__cause__ if isinstance(exc.__cause__, Exception) else exc
            except UNKNOWN_OUTCOME as exc:
                if changed is not None:
                    self._changes.doubt(*changed)
                failure = exc
            except BotoCoreError as exc:
                raise not_sent(exc) from exc
            else:
                metrics.TRANSACTION_ACTIONS.observe(len(actions))
                if changed is not None:
                    self._changes.confirm(*changed, done)
                return {}
        if failed:
            return failed
        raise self._calls.unavailable(failure) from failure
