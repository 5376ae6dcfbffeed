"""Keys and items of the change log's table."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from typing import TYPE_CHECKING

from events.datamodels import shortened_id
from events.domain.timestamps import format_timestamp
from events.models import MAX_SORT_KEY_BYTES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from events.datamodels import Item

#: Partitions per minute. DynamoDB takes 1,000 writes a second in each (Developer Guide, "Best
#: practices for designing and using partition keys"). Changing this number needs a new table.
CHANGE_SHARDS = 4
#: Attribute that DynamoDB's time to live reads.
EXPIRES_AT = "expires_at"
#: Partition and sort key of the item that says since when the log is complete.
_GAP = " gap"
CHANGE_GAP_KEY: dict[str, AttributeValueTypeDef] = {
    "change_slot": {"S": _GAP},
    "change_key": {"S": _GAP},
}


def change_partition(minute: datetime, shard: int) -> str:
    return f"{format_timestamp(minute)}#{shard}"


def change_shard(customer_id: str) -> int:
    """The shard of each minute that logs this customer's changes."""
    return hashlib.sha256(customer_id.encode()).digest()[0] % CHANGE_SHARDS


def change_key(customer_id: str, day: str) -> str:
    """Sort key of a changed day, such as `acme#2021-03-01`."""
    return f"{shortened_id(customer_id, MAX_SORT_KEY_BYTES - len(f'#{day}'))}#{day}"


def change_bounds(customer_id: str) -> tuple[str, str]:
    """Bounds that hold all changes of a customer, and perhaps changes of others."""
    return change_key(customer_id, "0000-00-00"), change_key(customer_id, "9999-99-99")


def change_item(
    customer_id: str, day: str, minute: datetime, *, expires_at: datetime
) -> dict[str, AttributeValueTypeDef]:
    return {
        "change_slot": {"S": change_partition(minute, change_shard(customer_id))},
        "change_key": {"S": change_key(customer_id, day)},
        "customer_id": {"S": customer_id},
        "day": {"S": day},
        EXPIRES_AT: {"N": str(math.ceil(expires_at.timestamp()))},
    }


def change_gap_item(whole_from: datetime) -> dict[str, AttributeValueTypeDef]:
    return {**CHANGE_GAP_KEY, "whole_from": {"S": format_timestamp(whole_from)}}


def change_gap_of(item: Item) -> datetime | None:
    """Since when the log is complete; None if it never had a gap."""
    return datetime.fromisoformat(item["whole_from"]["S"]) if item else None
