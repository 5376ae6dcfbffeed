"""Reads of a customer's shards as if they were one partition; `service.Store` documents them."""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import chain, islice
from typing import NamedTuple, TypeVar

from events.datamodels import SHARDS_TYPE, customer_of, event_key, shard_key, shard_of
from events.domain.timestamps import day_of
from events.dynamodb.reader import Reader
from events.models import DayCounts, Event, StoredEvent, Window

#: Counters of shard 0 for whose days the other shards are read at a time.
_COUNTERS_AT_A_TIME = 200


class _Spread(NamedTuple):
    """The first and the last day on which a customer was seen with shards, and the most of them."""

    shards: int
    first_day: str
    last_day: str


@dataclass(eq=False)
class ShardedReader:
    """
    The reads of a store; safe to use from many threads.

    What is read of shard 0 tells of other shards. So a customer without sharded days costs the
    requests of a read of one partition; looking up events costs a small one more, at the same time.
    All shards of a customer with known sharded days are read at once.
    """

    reader: Reader
    #: Runs the reads of one question's shards at the same time.
    threads: Executor
    #: By sharded customer. Entries only grow: reading an empty shard is harmless.
    _spreads: dict[str, _Spread] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def _note(self, customer_id: str, shards_by_day: Mapping[str, int]) -> None:
        if not shards_by_day:
            return
        most, first, last = max(shards_by_day.values()), min(shards_by_day), max(shards_by_day)
        with self._lock:
            known = self._spreads.get(customer_id, _Spread(most, first, last))
            self._spreads[customer_id] = _Spread(
                max(most, known.shards), min(first, known.first_day), max(last, known.last_day)
            )

    def _shards_of(self, customer_id: str) -> int:
        """The most shards that a day of the customer was seen to have."""
        spread = self._spreads.get(customer_id)
        return spread.shards if spread else 1

    # --- counters ---------------------------------------------------------------------------------

    def day_counts(
        self,
        customer_id: str,
        first_day: str,
        last_day: str,
        *,
        by_type: bool,
        page_size: int | None = None,
    ) -> Iterator[DayCounts]:
        spread = self._spreads.get(customer_id)
        if (
            spread is not None
            and spread.first_day <= last_day
            and first_day <= spread.last_day
            # A day has one total, but any number of types.
            and not by_type
            and _number_of_days(first_day, last_day) <= _COUNTERS_AT_A_TIME
        ):
            others = self._others(customer_id, range(1, spread.shards), first_day, last_day)
            batch = list(self.reader.day_counts(customer_id, first_day, last_day, by_type=False))
            yield from self._summed(customer_id, batch, by_type=False, others=list(others))
            return
        counters = self.reader.day_counts(
            customer_id, first_day, last_day, by_type=by_type, page_size=page_size
        )
        for counts in counters:
            if counts.shards == 1:
                yield counts
            else:
                for batch in _whole_days(chain([counts], counters)):
                    yield from self._summed(customer_id, batch, by_type=by_type)

    def _others(
        self, customer_id: str, shards: range, first: str, last: str, *, by_type: bool = False
    ) -> Iterator[list[DayCounts]]:
        """The counters of shards; all requests are queued before this returns."""

        def read(shard: int) -> list[DayCounts]:
            key = shard_key(customer_id, shard)
            return list(self.reader.day_counts(key, first, last, by_type=by_type))

        return self.threads.map(read, shards)

    def _summed(
        self,
        customer_id: str,
        batch: Sequence[DayCounts],
        *,
        by_type: bool,
        others: Sequence[Sequence[DayCounts]] = (),
    ) -> Iterator[DayCounts]:
        """
        The counters of shard 0, with those that the other shards have on the same days.

        Args:
            others: Of shard 1, 2 …, if they have been read already.
        """
        self._note(customer_id, {item.day: item.shards for item in batch if item.shards > 1})
        shards = max((item.shards for item in batch), default=1)
        if shards > 1 + len(others):
            left = range(1 + len(others), shards)
            first, last = batch[0].day, batch[-1].day
            others = [*others, *self._others(customer_id, left, first, last, by_type=by_type)]
        parts: dict[tuple[str, str], list[DayCounts]] = {}
        for counts in chain(batch, *others):
            parts.setdefault((counts.day, counts.event_type or ""), []).append(counts)
        for (_, event_type), of_shards in sorted(parts.items()):
            if not (by_type and event_type == SHARDS_TYPE):
                yield _sum(of_shards)

    # --- counts of stored events ------------------------------------------------------------------
    #
    # A caller has read the counters of these days, which says how many shards there are.

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        shards = self._shards_of(customer_id)
        counts = self.reader.count_events(_ranges(customer_id, windows, shards))
        return [sum(counts[at : at + shards]) for at in range(0, len(counts), shards)]

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> list[Mapping[str | None, int]]:
        shards = self._shards_of(customer_id)
        counts = self.reader.count_events_by_type(_ranges(customer_id, windows, shards))
        return [
            sum(map(Counter, counts[at : at + shards]), Counter())
            for at in range(0, len(counts), shards)
        ]

    # --- stored events ----------------------------------------------------------------------------

    def stored_events(
        self,
        customer_id: str,
        window: Window,
        *,
        after: str | None,
        is_newest_first: bool,
        page_size: int,
    ) -> Iterator[tuple[str, StoredEvent]]:
        def read(shard: int) -> Iterator[tuple[str, StoredEvent]]:
            return self.reader.stored_events(
                shard_key(customer_id, shard),
                window,
                after=after,
                is_newest_first=is_newest_first,
                page_size=page_size,
            )

        stamps = self.threads.submit(self.reader.stamps, customer_id, window)
        own = _begun(read(0))
        shards = max(stamps.result().values(), default=1)
        others = self.threads.map(_begun, map(read, range(1, shards)))
        return heapq.merge(own, *others, key=lambda item: item[0], reverse=is_newest_first)

    def counted_events(
        self,
        customer_id: str,
        window: Window | None = None,
        *,
        on_foreign: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        """As for `verification.Store`; an event in another shard than its own is foreign, too."""
        stamps = self.reader.stamps(customer_id, window)
        shards = max(stamps.values(), default=1)

        def read(shard: int) -> Iterator[Event]:
            key = shard_key(customer_id, shard)
            for event in self.reader.counted_events(key, window, on_foreign=on_foreign):
                of_day = stamps.get(day_of(event.timestamp), 1)
                if of_day == 1 == shards or shard_of(event, of_day) == shard:
                    yield event
                else:
                    on_foreign(event_key(event))

        if customer_id != customer_of(customer_id):
            # A shard that no day has: see `stored_customers`.
            for event in self.reader.counted_events(customer_id, window, on_foreign=on_foreign):
                on_foreign(event_key(event))
            return
        self._note(customer_id, stamps)
        yield from heapq.merge(*map(read, range(shards)), key=lambda event: event.timestamp)

    def stored_customers(self) -> Iterator[str]:
        """As for `verification.Store`; also the keys of shards that other software has made."""
        for partition in self.reader.stored_partitions():
            customer_id = customer_of(partition)
            if partition == customer_id:
                yield customer_id
                continue
            shards = max(self.reader.stamps(customer_id).values(), default=1)
            if partition not in {shard_key(customer_id, shard) for shard in range(shards)}:
                yield partition


def _number_of_days(first: str, last: str) -> int:
    return (date.fromisoformat(last) - date.fromisoformat(first)).days + 1


def _whole_days(counters: Iterator[DayCounts]) -> Iterator[list[DayCounts]]:
    """Lists of counters; all of a day are in one."""
    batch: list[DayCounts] = []
    for counts in counters:
        if len(batch) >= _COUNTERS_AT_A_TIME and batch[-1].day != counts.day:
            yield batch
            batch = []
        batch.append(counts)
    if batch:
        yield batch


def _sum(parts: Sequence[DayCounts]) -> DayCounts:
    # `Counter.update` takes twice as long.
    hours: dict[int, int] = {}
    for part in parts:
        for hour, count in part.hours.items():
            hours[hour] = hours.get(hour, 0) + count
    times = [part.updated_at for part in parts if part.updated_at is not None]
    return replace(
        parts[0],
        hours={hour: count for hour, count in hours.items() if count},
        updated_at=max(times, default=None),
        shards=1,
    )


def _ranges(
    customer_id: str, windows: Sequence[Window], shards: int
) -> Iterator[tuple[str, Window]]:
    keys = [shard_key(customer_id, shard) for shard in range(shards)]
    return ((key, window) for window in windows for key in keys)


_T = TypeVar("_T")


def _begun(iterator: Iterator[_T]) -> Iterator[_T]:
    """The same iterator, of which the first element has been read."""
    return chain(list(islice(iterator, 1)), iterator)
