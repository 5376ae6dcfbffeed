"""Table names, sort keys, and DynamoDB items to values and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from events.domain.timestamps import format_timestamp
from events.domain.windows import LATEST
from events.models import MAX_SORT_KEY_BYTES, DayCounts, Event, StoredEvent, Window

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, CreateTableInputTypeDef

    Item = Mapping[str, AttributeValueTypeDef]

#: Attributes of a counter item, one per UTC hour.
HOURS = tuple(f"h{hour:02d}" for hour in range(24))
#: Partition of the counts table that holds the customer registry. No customer can have this id,
#: because ids do not start with white space.
REGISTRY = " customers"
#: Partition of the counts table that holds the plans of sharded customers.
PLANS = " shards"
#: Between a customer id and the number of its shard: a control character, which no id contains.
_SHARD_MARK = "\x1f"
#: Event type in the key of the item that tells readers of types a day's number of shards. No event
#: has it, and it sorts before all types.
SHARDS_TYPE = ""
#: Bytes of a long customer id that its key keeps before the digest.
_LONG_ID_PREFIX_BYTES = 900


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
            {"AttributeName": key, "AttributeType": "S"} for key in (partition_key, sort_key)
        ],
    }


# --- events ---------------------------------------------------------------------------------------


def event_key(event: Event) -> str:
    """
    Sort key of an event: `<27-character UTC timestamp>-<event_type>-<transaction_id>`.

    Injective: the timestamp has a fixed width, `%` and `-` are escaped in the event type, and the
    transaction id is the rest.
    """
    event_type = event.event_type.replace("%", "%25").replace("-", "%2D")
    return f"{format_timestamp(event.timestamp)}-{event_type}-{event.transaction_id}"


def event_of(customer_id: str, key: str) -> Event:
    """The event with this sort key; raises `ValueError` if no event can have it."""
    if key[26:28] != "Z-":
        raise ValueError(f"not an event key: {key!r}")
    at = datetime.fromisoformat(key[:27])
    escaped, _, transaction_id = key[28:].partition("-")
    event_type = escaped.replace("%2D", "-").replace("%25", "%")
    event = Event(customer_id, event_type, transaction_id, at)
    if not (event_type and transaction_id) or event_key(event) != key:
        raise ValueError(f"not an event key: {key!r}")
    return event


def event_item_key(event: Event) -> dict[str, AttributeValueTypeDef]:
    """The whole primary key of an event's item; it holds all fields of the event."""
    return {"customer_id": {"S": event.customer_id}, "event_key": {"S": event_key(event)}}


def event_item(event: Event, now: datetime) -> dict[str, AttributeValueTypeDef]:
    return {**event_item_key(event), "ingested_at": {"S": format_timestamp(now)}}


def stored_event_of(item: Item) -> StoredEvent:
    """The event in an item; raises `ValueError` if the item's key is not an event key."""
    event = event_of(customer_of(item["customer_id"]["S"]), item["event_key"]["S"])
    # An item written by other software may lack valid times; its key alone makes it an event.
    voided_at = None
    if "voided_at" in item:
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


def key_bounds(window: Window) -> tuple[str, str]:
    """
    Bounds for `BETWEEN`, which includes both, that hold exactly the event keys of `[start, end)`.

    No key equals a bound, because keys continue after the 27 characters of the timestamp. So keys
    at `start` sort after the lower bound, and keys at `end` sort after the upper one. A window that
    ends at `LATEST` includes that last microsecond, which no later end could.
    """
    end = format_timestamp(window.end)
    # "." is the character after "-".
    return format_timestamp(window.start), f"{end}." if window.end == LATEST else end


# --- shards ---------------------------------------------------------------------------------------


def shard_key(customer_id: str, shard: int) -> str:
    """Partition key of a customer's shard; of shard 0 the id itself. No two shards share a key."""
    return f"{customer_id}{_SHARD_MARK}{shard}" if shard else customer_id


def customer_of(partition: str) -> str:
    """The customer whose shard has this partition key."""
    return partition.partition(_SHARD_MARK)[0]


def shard_of(event: Event, shards: int) -> int:
    """The shard of an event on a day with this number of shards: the same for all duplicates."""
    return hashlib.sha256(event_key(event).encode()).digest()[0] % shards if shards > 1 else 0


def stamp_key(day: str) -> str:
    """Sort key, among events, of the item that stores a day's number of shards; before events."""
    return f"!{day}"


def stamped_day(item: Item) -> str | None:
    """The day of an item with a `stamp_key`; None if the item is something else."""
    key = item["event_key"]["S"]
    return key[1:] if len(key) == 11 and key[0] == "!" and "shards" in item else None


# --- counters -------------------------------------------------------------------------------------


def counter_key(day: str, event_type: str | None) -> str:
    """Sort key of a day's counters: of one event type, or (None) of the total."""
    return f"total#{day}" if event_type is None else f"type#{day}#{event_type}"


def counter_item_key(
    customer_id: str, day: str, event_type: str | None
) -> dict[str, AttributeValueTypeDef]:
    """The whole primary key of a counter item."""
    return {
        "customer_id": {"S": customer_id},
        "counter_key": {"S": counter_key(day, event_type)},
    }


def counter_bounds(first_day: str, last_day: str, *, by_type: bool) -> tuple[str, str]:
    """Bounds for `BETWEEN` that hold the counters of the days from first to last, both included."""
    if by_type:
        # "$" is the character after "#": every type of the last day sorts before it.
        return f"type#{first_day}#", f"type#{last_day}$"
    return f"total#{first_day}", f"total#{last_day}"


def day_counts_of(item: Item) -> DayCounts:
    """
    The counters in an item, without the hours at zero.

    Raises:
        ValueError: The item is not a counter; other software wrote it.
    """
    key = item["counter_key"]["S"]
    scope, _, rest = key.partition("#")
    day, has_type, event_type = rest.partition("#")
    is_key = (scope, has_type) in (("total", ""), ("type", "#"))
    if not is_key or date.fromisoformat(day).isoformat() != day:
        raise ValueError(f"not a counter key: {key!r}")
    try:
        return DayCounts(
            customer_id=customer_of(item["customer_id"]["S"]),
            day=day,
            event_type=event_type if has_type else None,
            hours={
                hour: int(number["N"])
                for hour, name in enumerate(HOURS)
                if (number := item.get(name)) is not None and number["N"] != "0"
            },
            updated_at=_time_in(item, "updated_at"),
            shards=int(item["shards"]["N"]) if "shards" in item else 1,
        )
    except KeyError as exc:
        raise ValueError(f"counter item {key!r} has an hour that is not a number") from exc


def counter_item(counts: DayCounts, now: datetime) -> dict[str, AttributeValueTypeDef]:
    """A new counter item."""
    hours: dict[str, AttributeValueTypeDef] = {
        HOURS[hour]: {"N": str(count)} for hour, count in counts.hours.items()
    }
    key = counter_item_key(counts.customer_id, counts.day, counts.event_type)
    return {**key, "updated_at": {"S": format_timestamp(now)}, **hours}


# --- the customer registry ------------------------------------------------------------------------


def registry_key(customer_id: str) -> str:
    """Sort key of a customer in the registry: the id, shortened if it is too long for a key."""
    return shortened_id(customer_id, MAX_SORT_KEY_BYTES)


def shortened_id(customer_id: str, max_bytes: int) -> str:
    """The id, or if it is longer than `max_bytes` its first bytes and its digest."""
    encoded = customer_id.encode()
    if len(encoded) <= max_bytes:
        return customer_id
    start = encoded[:_LONG_ID_PREFIX_BYTES].decode(errors="ignore")
    # No id ends in a space, so no short id equals a shortened one.
    return f"{start} {hashlib.sha256(encoded).hexdigest()} "


def registry_prefix(prefix: str) -> str:
    """The start that the registry keys of all ids with this prefix share."""
    return prefix.encode()[:_LONG_ID_PREFIX_BYTES].decode(errors="ignore")


def registry_item(customer_id: str, now: datetime) -> dict[str, AttributeValueTypeDef]:
    return {
        "customer_id": {"S": REGISTRY},
        "counter_key": {"S": registry_key(customer_id)},
        "registered_id": {"S": customer_id},
        "registered_at": {"S": format_timestamp(now)},
    }
