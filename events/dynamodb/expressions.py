"""DynamoDB expressions that write events and counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from events.datamodels import HOURS, Tables, counter_key, event_item, event_item_key
from events.domain.rollups import day_increments
from events.domain.timestamps import day_of, format_timestamp
from events.models import DayCounts, Event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

    from events.datamodels import Item

# --- transactions ---------------------------------------------------------------------------------
#
# Each function below takes distinct events of one customer and UTC day, and returns the actions of
# one transaction: first one conditional action per event, in order, that returns the old item if
# its condition fails; then one `ADD` per counter item, the day's total first. No item occurs twice.


#: The event is stored and not voided.
_COUNTS = "attribute_exists(customer_id) AND attribute_not_exists(voided_at)"


def put_actions(
    tables: Tables,
    events: Sequence[Event],
    keys: Sequence[str],
    now: datetime,
    *,
    is_day_expected: bool = False,
) -> list[TransactWriteItemTypeDef]:
    """Store events and count them; if `is_day_expected`, only if the day has a total counter."""
    customer_id = events[0].customer_id
    puts: list[TransactWriteItemTypeDef] = [
        {
            "Put": {
                "TableName": tables.events,
                "Item": event_item(customer_id, key, now),
                "ConditionExpression": "attribute_not_exists(customer_id)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        for key in keys
    ]
    counters = _counter_actions(tables, events, 1, now)
    if is_day_expected:
        counters[0]["Update"]["ConditionExpression"] = "attribute_exists(customer_id)"
    return puts + counters


def void_actions(
    tables: Tables, events: Sequence[Event], keys: Sequence[str], now: datetime, *, reason: str
) -> list[TransactWriteItemTypeDef]:
    """Mark stored events as voided and subtract them from the counters."""
    marks: list[TransactWriteItemTypeDef] = [
        {
            "Update": {
                "TableName": tables.events,
                "Key": event_item_key(events[0].customer_id, key),
                "UpdateExpression": "SET voided_at = :now, void_reason = :reason",
                "ConditionExpression": _COUNTS,
                "ExpressionAttributeValues": {
                    ":now": {"S": format_timestamp(now)},
                    ":reason": {"S": reason},
                },
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        for key in keys
    ]
    return marks + _counter_actions(tables, events, -1, now)


def delete_actions(
    tables: Tables, events: Sequence[Event], keys: Sequence[str], now: datetime
) -> list[TransactWriteItemTypeDef]:
    """Delete events that are not voided and subtract them from the counters."""
    deletes: list[TransactWriteItemTypeDef] = [
        {
            "Delete": {
                "TableName": tables.events,
                "Key": event_item_key(events[0].customer_id, key),
                "ConditionExpression": _COUNTS,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        for key in keys
    ]
    return deletes + _counter_actions(tables, events, -1, now)


def _counter_actions(
    tables: Tables, events: Sequence[Event], sign: int, now: datetime
) -> list[TransactWriteItemTypeDef]:
    day = day_of(events[0].timestamp)
    return [
        {
            "Update": {
                "TableName": tables.counts,
                "Key": {
                    "customer_id": {"S": events[0].customer_id},
                    "counter_key": {"S": counter_key(day, event_type)},
                },
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


# --- single counter items -------------------------------------------------------------------------


def set_hours_expressions(
    counts: DayCounts, now: datetime
) -> tuple[str, dict[str, AttributeValueTypeDef]]:
    """Update expression and values that set the hours in `counts` and leave the others alone."""
    sets = [f"{HOURS[hour]} = :{HOURS[hour]}" for hour in counts.hours]
    values: dict[str, AttributeValueTypeDef] = {
        f":{HOURS[hour]}": {"N": str(count)} for hour, count in counts.hours.items()
    }
    values[":now"] = {"S": format_timestamp(now)}
    return f"SET {', '.join([*sets, 'updated_at = :now'])}", values


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


def was_repaired_at(item: Item, at: datetime) -> bool:
    """Whether the repair made at `at` was the last one of this counter item."""
    return item.get("repaired_at") == {"S": format_timestamp(at)}
