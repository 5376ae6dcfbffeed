"""The tables: their names, how keys are composed, and items to values and back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from events.domain.rollups import day_increments
from events.domain.timestamps import format_timestamp
from events.domain.windows import LATEST, day_of, hour_of_day
from events.models import MAX_SORT_KEY_BYTES, DayCounts, Event, StoredEvent, Window

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        CreateTableInputTypeDef,
        TransactWriteItemTypeDef,
    )

    Item = Mapping[str, AttributeValueTypeDef]

_HOURS = tuple(f"h{hour:02d}" for hour in range(24))
#: Partition of the counts table that lists the customers. No customer can have this id: ids
#: have no white space at their start.
REGISTRY = " customers"
#: Bytes of a long customer id that a sort key keeps before the digest.
_REGISTRY_PREFIX_BYTES = 900
#: Partitions of one slot of changes: each takes 1,000 writes a second (Developer Guide, "Best
#: practices for designing and using partition keys"). To change it is to make a table anew.
CHANGE_SHARDS = 4
#: Partition and sort key of the item that says from when on the list of changes is whole.
_CHANGE_GAP = " gap"
#: Attribute of a change that says when it is too old to be kept.
EXPIRES_AT = "expires_at"


@dataclass(frozen=True, slots=True)
class Tables:
    """Names of the three tables."""

    events: str
    counts: str
    changes: str

    @classmethod
    def named(cls, events: str) -> Tables:
        return cls(events, f"{events}_hourly_counts", f"{events}_changes")

    def definitions(self) -> tuple[CreateTableInputTypeDef, ...]:
        return (
            _definition(self.events, "customer_id", "event_key"),
            _definition(self.counts, "customer_id", "counter_key"),
            _definition(self.changes, "change_slot", "change_key"),
        )


def _definition(table: str, partition_key: str, sort_key: str) -> CreateTableInputTypeDef:
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [
            {"AttributeName": partition_key, "KeyType": "HASH"},
            {"AttributeName": sort_key, "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": partition_key, "AttributeType": "S"},
            {"AttributeName": sort_key, "AttributeType": "S"},
        ],
    }


# --- events ---------------------------------------------------------------------------------------


def event_key(event: Event) -> str:
    """
    Sort key of an event: `<27-character UTC timestamp>-<event_type>-<transaction_id>`.

    Injective: the timestamp has a fixed width, `%` and `-` are escaped in the type, and the
    transaction id is the rest.
    """
    kind = event.event_type.replace("%", "%25").replace("-", "%2D")
    return f"{format_timestamp(event.timestamp)}-{kind}-{event.transaction_id}"


def event_of(customer_id: str, key: str) -> Event:
    """The event that a key was made of; raises `ValueError` for a key that no event has."""
    if key[26:28] != "Z-":
        raise ValueError(f"no event has the key {key!r}")
    at = datetime.fromisoformat(key[:27])
    kind, _, transaction_id = key[28:].partition("-")
    event = Event(customer_id, kind.replace("%2D", "-").replace("%25", "%"), transaction_id, at)
    if not (kind and transaction_id) or event_key(event) != key:
        raise ValueError(f"no event has the key {key!r}")
    return event


def stored_event_of(item: Item) -> StoredEvent:
    """The event that an item holds; raises `ValueError` for an item that is no event."""
    event = event_of(item["customer_id"]["S"], item["event_key"]["S"])
    # What something else has put there may lack times, or have others: its key makes it an event.
    voided_at = None
    if is_voided(item):
        voided_at = _time_in(item, "voided_at") or event.timestamp
    return StoredEvent(
        event,
        _time_in(item, "ingested_at") or event.timestamp,
        voided_at,
        item.get("void_reason", {}).get("S") if voided_at else None,
    )


def _time_in(item: Item, name: str) -> datetime | None:
    try:
        return datetime.fromisoformat(item[name]["S"])
    except (KeyError, ValueError):
        return None


def is_voided(item: Item) -> bool:
    """Whether an event's item is a tombstone."""
    return "voided_at" in item


def event_item(customer_id: str, key: str, now: datetime) -> dict[str, AttributeValueTypeDef]:
    """The item of an event that is not voided."""
    return {
        "customer_id": {"S": customer_id},
        "event_key": {"S": key},
        "ingested_at": {"S": format_timestamp(now)},
    }


def key_bounds(window: Window) -> tuple[str, str]:
    """
    Bounds for `BETWEEN`, which includes both, that hold exactly the keys of `[start, end)`.

    No key equals a bound: keys go on after the 27 characters. So the keys at `end` itself sort
    after the upper bound, and those at `start` after the lower. A window that ends at `LATEST`
    has no end, as no later one could hold an event of that microsecond.
    """
    # "." is the character after "-".
    end = format_timestamp(window.end)
    return format_timestamp(window.start), f"{end}." if window.end == LATEST else end


# --- counters -------------------------------------------------------------------------------------


def counter_key(day: str, event_type: str | None) -> str:
    """Sort key of a day's counters: of one event type, or (None) of all."""
    return f"total#{day}" if event_type is None else f"type#{day}#{event_type}"


def counter_bounds(first_day: str, last_day: str, *, by_type: bool) -> tuple[str, str]:
    """Bounds for `BETWEEN` that hold the counters of the days from first to last, both included."""
    if by_type:
        # "$" is the character after "#": every type of the last day sorts before it.
        return f"type#{first_day}#", f"type#{last_day}$"
    return f"total#{first_day}", f"total#{last_day}"


def day_counts_of(item: Item) -> DayCounts:
    """
    The counters that an item holds; hours at zero are left out.

    Raises:
        ValueError: It is no counter item: something else has written it.
    """
    kind, _, rest = item["counter_key"]["S"].partition("#")
    day, has_type, event_type = rest.partition("#")
    if (kind, has_type) not in (("total", ""), ("type", "#")) or day_of(hour_of_day(day, 0)) != day:
        raise ValueError(f"{item['counter_key']['S']!r} is the key of no counter")
    try:
        return DayCounts(
            customer_id=item["customer_id"]["S"],
            day=day,
            event_type=event_type if has_type else None,
            hours={
                hour: int(item[name]["N"])
                for hour, name in enumerate(_HOURS)
                if name in item and item[name]["N"] != "0"
            },
            updated_at=_time_in(item, "updated_at"),
        )
    except KeyError as exc:
        raise ValueError(f"{item['counter_key']['S']!r} has a counter that is no number") from exc


def counter_item(counts: DayCounts, now: datetime) -> dict[str, AttributeValueTypeDef]:
    """The item that holds counters, as nobody has counted on it yet."""
    hours: dict[str, AttributeValueTypeDef] = {
        _HOURS[hour]: {"N": str(count)} for hour, count in counts.hours.items()
    }
    return {
        "customer_id": {"S": counts.customer_id},
        "counter_key": {"S": counter_key(counts.day, counts.event_type)},
        "updated_at": {"S": format_timestamp(now)},
        **hours,
    }


def set_hours_expressions(
    counts: DayCounts, now: datetime
) -> tuple[str, dict[str, AttributeValueTypeDef]]:
    """Update expression and values that put these hours, and leave the others as they are."""
    names = [_HOURS[hour] for hour in counts.hours]
    values: dict[str, AttributeValueTypeDef] = {
        f":{_HOURS[hour]}": {"N": str(count)} for hour, count in counts.hours.items()
    }
    sets = ", ".join([*(f"{name} = :{name}" for name in names), "updated_at = :now"])
    return f"SET {sets}", {**values, ":now": {"S": format_timestamp(now)}}


def was_repaired_at(item: Item, at: datetime) -> bool:
    """Whether it was the repair of that moment which last mended a counter item."""
    return item.get("repaired_at") == {"S": format_timestamp(at)}


# --- writing --------------------------------------------------------------------------------------


def put_actions(
    tables: Tables,
    events: Sequence[Event],
    keys: Sequence[str],
    now: datetime,
    *,
    is_day_expected: bool = False,
) -> list[TransactWriteItemTypeDef]:
    """
    The actions that store distinct events of one customer and day, and count them.

    In every list of actions made here the events come first, in their order, each with a condition
    that gives the item back where it fails; then one `ADD` for each counter item touched, never
    two for one item, the day's total first.

    Args:
        is_day_expected: On the condition that the day's total is there.
    """
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
    """The actions that mark stored events as voided, and take them out of the counts."""
    marks: list[TransactWriteItemTypeDef] = [
        {
            "Update": {
                "TableName": tables.events,
                "Key": {"customer_id": {"S": events[0].customer_id}, "event_key": {"S": key}},
                "UpdateExpression": "SET voided_at = :now, void_reason = :reason",
                "ConditionExpression": (
                    "attribute_exists(customer_id) AND attribute_not_exists(voided_at)"
                ),
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
    """The actions that delete events that are not voided, and take them out of the counts."""
    deletes: list[TransactWriteItemTypeDef] = [
        {
            "Delete": {
                "TableName": tables.events,
                "Key": {"customer_id": {"S": events[0].customer_id}, "event_key": {"S": key}},
                "ConditionExpression": (
                    "attribute_exists(customer_id) AND attribute_not_exists(voided_at)"
                ),
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
                    "counter_key": {"S": counter_key(day, counter)},
                },
                "UpdateExpression": (
                    f"ADD {', '.join(f'{_HOURS[hour]} :{_HOURS[hour]}' for hour in hours)} "
                    "SET updated_at = :now"
                ),
                "ExpressionAttributeValues": {
                    **{f":{_HOURS[hour]}": {"N": str(sign * n)} for hour, n in hours.items()},
                    ":now": {"S": format_timestamp(now)},
                },
            }
        }
        for counter, hours in day_increments(events).items()
    ]


def delete_counter_expressions(seen: DayCounts) -> tuple[str, dict[str, AttributeValueTypeDef]]:
    """Condition expression and values: the counter is still what was seen."""
    conditions: list[str] = []
    values: dict[str, AttributeValueTypeDef] = {}
    _expect(seen, conditions, values)
    return " AND ".join(conditions), values


def _expect(
    seen: DayCounts, conditions: list[str], values: dict[str, AttributeValueTypeDef]
) -> None:
    # `updated_at` is in the condition because a number alone may have gone and come back.
    if seen.updated_at is None:
        conditions.append("attribute_not_exists(updated_at)")
    else:
        conditions.append("updated_at = :seen")
        values[":seen"] = {"S": format_timestamp(seen.updated_at)}
    for hour, name in enumerate(_HOURS):
        was = seen.hours.get(hour, 0)
        if was:
            conditions.append(f"{name} = :was_{name}")
        else:
            conditions.append(f"(attribute_not_exists({name}) OR {name} = :was_{name})")
        values[f":was_{name}"] = {"N": str(was)}


def repair_expressions(
    seen: DayCounts, recount: Mapping[int, int], now: datetime
) -> tuple[str, str, dict[str, AttributeValueTypeDef]]:
    """
    Update and condition expressions that put a recount where the counter is still what was seen.

    `updated_at` stays as it is: it says when events were last taken in.

    Returns:
        Update expression, condition expression, values.
    """
    values: dict[str, AttributeValueTypeDef] = {":now": {"S": format_timestamp(now)}}
    sets = ["repaired_at = :now", "updated_at = if_not_exists(updated_at, :now)"]
    conditions: list[str] = []
    _expect(seen, conditions, values)
    for hour, name in enumerate(_HOURS):
        is_now = recount.get(hour, 0)
        if seen.hours.get(hour, 0) != is_now:
            sets.append(f"{name} = :now_{name}")
            values[f":now_{name}"] = {"N": str(is_now)}
    return f"SET {', '.join(sets)}", " AND ".join(conditions), values


# --- the registry of customers --------------------------------------------------------------------


def registry_key(customer_id: str) -> str:
    """
    Sort key of a customer in the registry: its id, or for one longer than a sort key may be,
    the id's first bytes and its digest.
    """
    return _fitting(customer_id, MAX_SORT_KEY_BYTES)


def _fitting(customer_id: str, most_bytes: int) -> str:
    text = customer_id.encode()
    if len(text) <= most_bytes:
        return customer_id
    start = text[:_REGISTRY_PREFIX_BYTES].decode(errors="ignore")
    # No id ends in a space, so no short id has this key.
    return f"{start} {hashlib.sha256(text).hexdigest()} "


def registry_prefix(prefix: str) -> str:
    """What the registry keys of all ids with this prefix start with; "" for none."""
    return prefix.encode()[:_REGISTRY_PREFIX_BYTES].decode(errors="ignore")


def registry_item(customer_id: str, now: datetime) -> dict[str, AttributeValueTypeDef]:
    return {
        "customer_id": {"S": REGISTRY},
        "counter_key": {"S": registry_key(customer_id)},
        "registered_id": {"S": customer_id},
        "registered_at": {"S": format_timestamp(now)},
    }


def erasing_since(item: Item) -> datetime:
    """When the erasure of a listed customer began."""
    return datetime.fromisoformat(item["erasing_since"]["S"])


def changes_forgotten_until(item: Item) -> datetime | None:
    """How far the list of changes was cleared of a listed customer that is being erased."""
    value = item.get("changes_forgotten_until")
    return None if value is None else datetime.fromisoformat(value["S"])


# --- the list of changes --------------------------------------------------------------------------


def change_partition(slot: datetime, shard: int) -> str:
    return f"{format_timestamp(slot)}#{shard}"


def change_shard(customer_id: str) -> int:
    """Which of the partitions of a slot lists this customer."""
    return hashlib.sha256(customer_id.encode()).digest()[0] % CHANGE_SHARDS


def change_key(customer_id: str, day: str) -> str:
    """Sort key of a changed day; `day` has ten characters."""
    return f"{_fitting(customer_id, MAX_SORT_KEY_BYTES - len(f'#{day}'))}#{day}"


def change_bounds(customer_id: str) -> tuple[str, str]:
    """Bounds that hold all changes of a customer, and perhaps some of others."""
    return change_key(customer_id, "0000-00-00"), change_key(customer_id, "9999-99-99")


def change_item(
    customer_id: str, day: str, slot: datetime, *, expires_at: datetime
) -> dict[str, AttributeValueTypeDef]:
    return {
        "change_slot": {"S": change_partition(slot, change_shard(customer_id))},
        "change_key": {"S": change_key(customer_id, day)},
        "customer_id": {"S": customer_id},
        "day": {"S": day},
        EXPIRES_AT: {"N": str(math.ceil(expires_at.timestamp()))},
    }


#: Key of that item.
CHANGE_GAP_KEY: dict[str, AttributeValueTypeDef] = {
    "change_slot": {"S": _CHANGE_GAP},
    "change_key": {"S": _CHANGE_GAP},
}


def change_gap_item(whole_from: datetime) -> dict[str, AttributeValueTypeDef]:
    return {
        **CHANGE_GAP_KEY,
        "whole_from": {"S": format_timestamp(whole_from)},
    }


def change_gap_of(item: Item) -> datetime | None:
    """From when on the list of changes is whole; None where there was no gap."""
    return datetime.fromisoformat(item["whole_from"]["S"]) if item else None


def utc_now() -> datetime:
    return datetime.now(UTC)


def keys_of(events: Iterable[Event]) -> list[str]:
    return [event_key(event) for event in events]
