"""The store on DynamoDB: the reads, and the parts in `events.dynamodb` that write."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.domain.timestamps import utc_now
from events.dynamodb import expressions
from events.dynamodb.changefeed import ChangeFeed
from events.dynamodb.changelog import EXPIRES_AT, GRACE, MINUTE, ChangeLog, Minutes
from events.dynamodb.customers import REGISTERED_FOR_SECONDS, Registry
from events.dynamodb.erasure import Eraser
from events.dynamodb.plans import AutoShards, Plans
from events.dynamodb.reader import Reader
from events.dynamodb.repair import Repairer
from events.dynamodb.requests import MAX_REQUEST_SECONDS, Requests, new_token
from events.dynamodb.shardreader import ShardedReader
from events.dynamodb.shards import ShardedWrites
from events.dynamodb.transactions import EventTransactions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Timing:
    """Periods that all processes on the same tables must share. Tests use shorter ones."""

    registered_for_seconds: float = REGISTERED_FOR_SECONDS
    request_seconds: float = MAX_REQUEST_SECONDS
    minute: timedelta = MINUTE
    grace: timedelta = GRACE


class DynamoStore:
    """
    A `service.Store` on DynamoDB; safe to use from many threads.

    Args:
        client: Made for one attempt per call (`total_max_attempts=1`); this class retries.
        retry: For each single request.
        readers: How many raw counts run at the same time.
        may_make_tables: Create missing tables; False raises `StoreRefused` instead.
        max_shards: Up to how many shards busy customers get automatically; 1 is never.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        tables: Tables,
        *,
        retry: RetryPolicy,
        readers: int = 8,
        may_make_tables: bool = True,
        max_shards: int = 1,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
        new_token: Callable[[], str] = new_token,
        timing: Timing = Timing(),
    ) -> None:
        self._client = client
        self._tables = tables
        self._retry = retry
        self._now = now
        self._requests = Requests(
            client,
            tables.definitions(),
            retry,
            on_tables_made=self._forget_all,
            may_make_tables=may_make_tables,
            expiring={tables.changes: EXPIRES_AT},
        )
        self._may_make_tables = may_make_tables
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="count")
        requests = self._requests
        self._registry = Registry(
            requests,
            tables.counts,
            now,
            clock,
            timing.registered_for_seconds,
            timing.request_seconds,
        )
        minutes = Minutes(now, length=timing.minute, grace=timing.grace)
        self._changes = ChangeLog(requests, tables.changes, minutes)
        self.changes = ChangeFeed(requests, tables.changes, self._readers, minutes)
        self.plans = Plans(requests, tables.counts, clock)
        auto = AutoShards(self.plans, now, clock, max_shards)
        transactions = EventTransactions(
            requests,
            tables,
            self._registry,
            self._changes,
            retry,
            now,
            new_token,
            auto.note_failure,
        )
        writes = ShardedWrites(requests, tables.counts, transactions, self.plans, auto.note_written)
        reader = ShardedReader(Reader(requests, tables, self._readers), self._readers)
        eraser = Eraser(requests, tables, self._registry, self.changes, transactions, self.plans)
        repairer = Repairer(requests, tables, self._changes, reader.reader, transactions, now)
        # The store's methods that its parts implement; `service.Store` documents them.
        self.lane_of = writes.lane_of
        self.fits_transaction = expressions.fits_transaction
        self.expect = transactions.expect
        self.write = writes.write
        self.void = writes.void
        self.erase = eraser.erase
        self.repair = repairer.repair
        self.day_counts = reader.day_counts
        self.count_events = reader.count_events
        self.count_events_by_type = reader.count_events_by_type
        self.counted_events = reader.counted_events
        self.stored_events = reader.stored_events
        self.stored_customers = reader.stored_customers
        self.customers = self._registry.customers
        self.is_listed = self._registry.is_listed
        self.register = self._registry.register
        self.create_tables = self._requests.create_tables

    def _forget_all(self) -> None:
        self._registry.forget_all()
        self._changes.forget_all()

    def close(self) -> None:
        self._readers.shutdown()
        self._client.close()

    def check(self, *, patience_seconds: float = 0) -> None:
        """
        Read one item of each table; raises `StoreUnavailable` or `StoreRefused`.

        Skips the changes table if missing tables are not created: readers of the other tables do
        not need it, and a writer creates it.
        """
        retry = replace(self._retry, patience_seconds=patience_seconds)
        for table in reversed(self._tables.definitions()):
            if self._may_make_tables or table["TableName"] != self._tables.changes:
                key = {part["AttributeName"]: {"S": " "} for part in table["KeySchema"]}
                self._requests.send(
                    self._client.get_item, TableName=table["TableName"], Key=key, retry=retry
                )
