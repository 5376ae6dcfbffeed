"""DynamoDB expressions that write events and counters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from events.datamodels import (
    HOURS,
    SHARDS_TYPE,
    Tables,
    counter_item_key,
    customer_of,
    event_item,
    event_item_key,
    stamp_key,
)
from events.domain.timestamps import day_of, format_timestamp
from events.models import MAX_ACTIONS, DayCounts, Event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


#: One of a transaction's `TransactItems`.
Action = dict[str, Any]

#: Event type, or None for the total → hour 0–23 → count.
DayIncrements = dict[str | None, dict[int, int]]

# --- what fits into a transaction ----------------------------------------------------------------


def day_increments(events: Iterable[Event]) -> DayIncrements:
    """What distinct events of one customer and UTC day add to the day's counters."""
    increments: DayIncrements = {}
    for event in events:
        hour = event.timestamp.hour
        for event_type in (None, event.event_type):
            hours = increments.setdefault(event_type, {})
            hours[hour] = hours.get(hour, 0) + 1
    return increments


def lane_of(event: Event) -> tuple[str, int]:
    """Customer, and day as a proleptic ordinal: what shares a total in DynamoDB."""
    return event.customer_id, event.timestamp.toordinal()


def fits_transaction(number_of_events: int, number_of_types: int) -> bool:
    """Whether events of one customer and day fit a DynamoDB transaction with their counters."""
    # One action for each event, one for the day's total, one for each type.
    return number_of_events + 1 + number_of_types <= MAX_ACTIONS


def fitting(events: Sequence[Event]) -> int:
    """How many events, from the first, fit into one transaction with their counters."""
    types: set[str] = set()
    for index, event in enumerate(events):
        types.add(event.event_type)
        if not fits_transaction(index + 1, len(types)):
            return index
    return len(events)


# --- transactions ---------------------------------------------------------------------------------
#
# Each function below takes distinct events of one customer and UTC day, and returns the actions of
# one transaction: first one conditional action per event, in order, that returns the old item if
# its condition fails; then one `ADD` per counter item, the day's total first. No item occurs twice.


#: The event is stored and not voided.
_COUNTS = "attribute_exists(customer_id) AND attribute_not_exists(voided_at)"


#: The day is not spread over shards.
_IS_WHOLE = "attribute_not_exists(shards)"


def put_actions(
    tables: Tables,
    events: Sequence[Event],
    now: datetime,
    *,
    is_day_expected: bool = False,
    shards: int = 1,
) -> list[Action]:
    """
    Store events and count them, only if the day has this number of shards.

    Args:
        is_day_expected: Only if the day has a total counter.
    """
    items = [{"Item": event_item(event, now)} for event in events]
    puts = _event_actions("Put", tables, items, "attribute_not_exists(customer_id)")
    counters = _counter_actions(tables, events, 1, now)
    total = counters[0]["Update"]
    if shards > 1:
        total["ConditionExpression"] = "shards = :shards"
        total["ExpressionAttributeValues"][":shards"] = {"N": str(shards)}
    elif is_day_expected:
        total["ConditionExpression"] = f"attribute_exists(customer_id) AND {_IS_WHOLE}"
    else:
        total["ConditionExpression"] = _IS_WHOLE
    return puts + counters


def void_actions(
    tables: Tables, events: Sequence[Event], now: datetime, *, reason: str, is_whole: bool = True
) -> list[Action]:
    """
    Mark stored events as voided and subtract them from the counters.

    Args:
        is_whole: Only if the day is not spread over shards; False: the events are of one shard.
    """
    change = {
        "UpdateExpression": "SET voided_at = :now, void_reason = :reason",
        "ExpressionAttributeValues": {
            ":now": {"S": format_timestamp(now)},
            ":reason": {"S": reason},
        },
    }
    keys = [{"Key": event_item_key(event), **change} for event in events]
    marks = _event_actions("Update", tables, keys, _COUNTS)
    counters = _counter_actions(tables, events, -1, now)
    if is_whole:
        counters[0]["Update"]["ConditionExpression"] = _IS_WHOLE
    return marks + counters


def open_actions(
    tables: Tables, partition: str, day: str, shards: int, *, token: str, is_restoring: bool = False
) -> list[Action]:
    """
    Spread a day without counters over shards, or confirm it, and allow writes to one shard.

    Writes to a shard require `shards` on its total. An erasure deletes a day's items in shard 0
    only if nothing opened another shard since it read them: each `token` changes them.

    Args:
        is_restoring: The total of shard 0 may have lost its `shards`.
    """
    customer_id = customer_of(partition)
    marks: dict[str, Any] = {"shards": {"N": str(shards)}, "opened": {"S": token}}
    values = {":shards": {"N": str(shards)}}
    stamp = {"customer_id": {"S": customer_id}, "event_key": {"S": stamp_key(day)}, **marks}
    total: Action = {
        "TableName": tables.counts,
        "Key": counter_item_key(customer_id, day, None),
        "UpdateExpression": "SET shards = :shards, opened = :opened",
        "ExpressionAttributeValues": {**values, ":opened": {"S": token}},
    }
    if not is_restoring:
        total["ConditionExpression"] = "attribute_not_exists(customer_id) OR shards = :shards"
    actions: list[Action] = [
        {
            "Put": {
                "TableName": tables.events,
                "Item": stamp,
                "ConditionExpression": "attribute_not_exists(customer_id) OR shards = :shards",
                "ExpressionAttributeValues": values,
            }
        },
        {"Update": total},
        {
            "Put": {
                "TableName": tables.counts,
                "Item": {**counter_item_key(customer_id, day, SHARDS_TYPE), **marks},
            }
        },
    ]
    if partition != customer_id:
        of_shard = {
            "TableName": tables.counts,
            "Key": counter_item_key(partition, day, None),
            "UpdateExpression": "SET shards = :shards",
            "ConditionExpression": "attribute_not_exists(shards) OR shards = :shards",
            "ExpressionAttributeValues": values,
        }
        actions.append({"Update": of_shard})
    return actions


def delete_actions(tables: Tables, events: Sequence[Event], now: datetime) -> list[Action]:
    """Delete events that are not voided and subtract them from the counters."""
    keys = [{"Key": event_item_key(event)} for event in events]
    deletes = _event_actions("Delete", tables, keys, _COUNTS)
    return deletes + _counter_actions(tables, events, -1, now)


def _event_actions(
    name: str, tables: Tables, fields: Iterable[Mapping[str, Any]], condition: str
) -> list[Action]:
    shared = {
        "TableName": tables.events,
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    return [{name: {**shared, **of_event}} for of_event in fields]


def _counter_actions(
    tables: Tables, events: Sequence[Event], sign: int, now: datetime
) -> list[Action]:
    customer_id, day = events[0].customer_id, day_of(events[0].timestamp)
    return [
        {
            "Update": {
                "TableName": tables.counts,
                "Key": counter_item_key(customer_id, day, event_type),
                "UpdateExpression": (
                    f"ADD {', '.join(f'{HOURS[hour]} :{HOURS[hour]}' for hour in hours)} "
                    "SET updated_at = :now"
                ),
                "ExpressionAttributeValues": {
                    **{f":{HOURS[hour]}": {"N": str(sign * n)} for hour, n in hours.items()},
                    ":now": {"S": format_timestamp(now)},
                },
            }
        }
        for event_type, hours in day_increments(events).items()
    ]


def repair_expressions(
    seen: DayCounts, recount: Mapping[int, int], now: datetime
) -> tuple[str, str, dict[str, AttributeValueTypeDef]]:
    """
    Expressions that replace a counter by its recount if the counter is still what was read.

    `updated_at` does not change: it says when events were last stored.

    Returns:
        Update expression, condition expression, values.
    """
    values: dict[str, AttributeValueTypeDef] = {":now": {"S": format_timestamp(now)}}
    sets = ["repaired_at = :now", "updated_at = if_not_exists(updated_at, :now)"]
    # `updated_at` is part of the condition because a count may have changed and changed back.
    if seen.updated_at is None:
        conditions = ["attribute_not_exists(updated_at)"]
    else:
        conditions = ["updated_at = :seen"]
        values[":seen"] = {"S": format_timestamp(seen.updated_at)}
    for hour, name in enumerate(HOURS):
        was, count = seen.hours.get(hour, 0), recount.get(hour, 0)
        is_same = f"{name} = :was_{name}"
        conditions.append(is_same if was else f"(attribute_not_exists({name}) OR {is_same})")
        values[f":was_{name}"] = {"N": str(was)}
        if was != count:
            sets.append(f"{name} = :now_{name}")
            values[f":now_{name}"] = {"N": str(count)}
    return f"SET {', '.join(sets)}", " AND ".join(conditions), values
