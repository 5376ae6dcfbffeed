"""The tables: their names, how keys are composed, and items to values and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from events.models import MAX_SORT_KEY_BYTES, DayCounts, Event, Window
from events.rollups import day_increments
from events.timestamps import format_timestamp
from events.windows import LATEST, day_of, hour_of_day

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
#: Bytes of a long customer id that its registry key keeps before the digest.
_REGISTRY_PREFIX_BYTES = 900


@dataclass(frozen=True, slots=True)
class Tables:
    """Names of the two tables."""

    events: str
    counts: str

    @classmethod
    def named(cls, events: str) -> Tables:
        return cls(events, f"{events}_hourly_counts")

    def definitions(self) -> tuple[CreateTableInputTypeDef, CreateTableInputTypeDef]:
        return (
            _definition(self.events, "event_key"),
            _definition(self.counts, "counter_key"),
        )


def _definition(table: str, sort_key: str) -> CreateTableInputTypeDef:
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [
            {"AttributeName": "customer_id", "KeyType": "HASH"},
            {"AttributeName": sort_key, "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "customer_id", "AttributeType": "S"},
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
    updated_at = item.get("updated_at")
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
            updated_at=datetime.fromisoformat(updated_at["S"]) if updated_at else None,
        )
    except KeyError as exc:
        raise ValueError(f"{item['counter_key']['S']!r} has a counter that is no number") from exc


def was_repaired_at(item: Item, at: datetime) -> bool:
    """Whether it was the repair of that moment which last mended a counter item."""
    return item.get("repaired_at") == {"S": format_timestamp(at)}


# --- writing --------------------------------------------------------------------------------------


def write_actions(
    tables: Tables, events: Sequence[Event], keys: Sequence[str], now: datetime
) -> list[TransactWriteItemTypeDef]:
    """
    The actions that store distinct events of one customer and day, and count them.

    The puts come first, in the order of `events`, each on the condition that its event is not
    stored; then one `ADD` for each counter item touched, never two for one item.
    """
    stamp: AttributeValueTypeDef = {"S": format_timestamp(now)}
    customer: AttributeValueTypeDef = {"S": events[0].customer_id}
    puts: list[TransactWriteItemTypeDef] = [
        {
            "Put": {
                "TableName": tables.events,
                "Item": {"customer_id": customer, "event_key": {"S": key}, "ingested_at": stamp},
                "ConditionExpression": "attribute_not_exists(customer_id)",
            }
        }
        for key in keys
    ]
    day = day_of(events[0].timestamp)
    adds: list[TransactWriteItemTypeDef] = [
        {
            "Update": {
                "TableName": tables.counts,
                "Key": {"customer_id": customer, "counter_key": {"S": counter_key(day, counter)}},
                "UpdateExpression": (
                    f"ADD {', '.join(f'{_HOURS[hour]} :{_HOURS[hour]}' for hour in hours)} "
                    "SET updated_at = :now"
                ),
                "ExpressionAttributeValues": {
                    **{f":{_HOURS[hour]}": {"N": str(count)} for hour, count in hours.items()},
                    ":now": stamp,
                },
            }
        }
        for counter, hours in day_increments(events).items()
    ]
    return puts + adds


def repair_expressions(
    seen: DayCounts, recount: Mapping[int, int], now: datetime
) -> tuple[str, str, dict[str, AttributeValueTypeDef]]:
    """
    Update and condition expressions that put a recount where the counter is still what was seen.

    `updated_at` is in the condition because a number alone may have gone and come back, and stays
    as it is: it says when events were last taken in.

    Returns:
        Update expression, condition expression, values.
    """
    values: dict[str, AttributeValueTypeDef] = {":now": {"S": format_timestamp(now)}}
    sets = ["repaired_at = :now", "updated_at = if_not_exists(updated_at, :now)"]
    if seen.updated_at is None:
        conditions = ["attribute_not_exists(updated_at)"]
    else:
        conditions = ["updated_at = :seen"]
        values[":seen"] = {"S": format_timestamp(seen.updated_at)}
    for hour, name in enumerate(_HOURS):
        was, is_now = seen.hours.get(hour, 0), recount.get(hour, 0)
        if was:
            conditions.append(f"{name} = :was_{name}")
        else:
            conditions.append(f"(attribute_not_exists({name}) OR {name} = :was_{name})")
        values[f":was_{name}"] = {"N": str(was)}
        if was != is_now:
            sets.append(f"{name} = :now_{name}")
            values[f":now_{name}"] = {"N": str(is_now)}
    return f"SET {', '.join(sets)}", " AND ".join(conditions), values


# --- the registry of customers --------------------------------------------------------------------


def registry_key(customer_id: str) -> str:
    """
    Sort key of a customer in the registry: its id, or for one longer than a sort key may be,
    the id's first bytes and its digest.
    """
    text = customer_id.encode()
    if len(text) <= MAX_SORT_KEY_BYTES:
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


def utc_now() -> datetime:
    return datetime.now(UTC)


def keys_of(events: Iterable[Event]) -> list[str]:
    return [event_key(event) for event in events]
