"""Repair of counters, shard by shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from events.datamodels import Tables, counter_item_key, customer_of, day_counts_of, shard_key
from events.domain.timestamps import format_timestamp
from events.domain.windows import end_of_hour, hour_of_day
from events.dynamodb.changelog import ChangeLog
from events.dynamodb.expressions import repair_expressions
from events.dynamodb.reader import Reader
from events.dynamodb.requests import ConditionFailed, Requests
from events.dynamodb.transactions import DayDiffers, EventTransactions
from events.models import DayCounts, Window


@dataclass(eq=False)
class Repairer:
    """Replaces counters by their recounts; safe to use from many threads."""

    requests: Requests
    tables: Tables
    changes: ChangeLog
    reader: Reader
    transactions: EventTransactions
    now: Callable[[], datetime]

    def repair(self, seen: DayCounts, recount: DayCounts) -> bool:
        """Replace a counter by its recount; False if the counter has changed since `seen`."""
        midnight = hour_of_day(seen.day, 0)
        stamps = self.reader.stamps(seen.customer_id, Window(midnight, midnight))
        if seen.day not in stamps:
            return self._replace(seen.customer_id, seen, recount.hours)
        # The recount is of all shards together, so the wrong hours are recounted in each shard.
        hours = [
            hour for hour in range(24) if seen.hours.get(hour, 0) != recount.hours.get(hour, 0)
        ]
        keys = [shard_key(seen.customer_id, shard) for shard in range(stamps[seen.day])]
        repaired = [self._repair_shard(key, seen, hours, len(keys)) for key in keys]
        return any(repaired)

    def _repair_shard(
        self, partition: str, of_day: DayCounts, wrong: Sequence[int], shards: int
    ) -> bool:
        day, event_type = of_day.day, of_day.event_type
        if self._counter(partition, day, None).shards != shards:
            try:
                self.transactions.open_shard(partition, day, shards, is_restoring=True)
            except DayDiffers:
                return False
        # Read before the events: if the counter changes from here on, it is not replaced.
        seen = self._counter(partition, day, event_type)
        counted = Counter(
            event.timestamp.hour
            for hour in wrong
            for event in self.reader.counted_events(partition, _hour(day, hour))
            if event_type in (None, event.event_type)
        )
        kept = {hour: count for hour, count in seen.hours.items() if hour not in wrong}
        hours = kept | counted
        return hours != seen.hours and self._replace(partition, seen, hours)

    def _counter(self, partition: str, day: str, event_type: str | None) -> DayCounts:
        key = counter_item_key(partition, day, event_type)
        item: Any = self.requests.get(self.tables.counts, key)
        return day_counts_of(item) if item else DayCounts(partition, day, event_type, {})

    def _replace(self, partition: str, seen: DayCounts, hours: Mapping[int, int]) -> bool:
        customer_id, now = customer_of(partition), self.now()
        update, condition, values = repair_expressions(seen, hours, now)
        answer: Mapping[str, Any] = {"ResponseMetadata": {}}
        try:
            answer = self.requests.send(
                self.requests.client.update_item,
                before_attempt=partial(self.changes.ensure_logged, customer_id, seen.day),
                TableName=self.tables.counts,
                Key=counter_item_key(partition, seen.day, seen.event_type),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as exc:
            # If a first answer was lost, this same repair is what changed the counter.
            if exc.item.get("repaired_at") != {"S": format_timestamp(now)}:
                return False
        self.changes.log_again_if_late(customer_id, seen.day, answer)
        return True


def _hour(day: str, hour: int) -> Window:
    start = hour_of_day(day, hour)
    return Window(start, end_of_hour(start))
