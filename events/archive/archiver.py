"""
Kafka to Iceberg: every message of the topic is in the archive once.

A commit adds rows, and the offsets after them, to a table in one step. A process that starts asks
the table where to continue. So wherever a process is killed, a message is either in the table or is
read again, never both.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime

from pyiceberg.catalog import Catalog

from events.archive.catalog import Conflict
from events.archive.tables import RAW, REJECTED, ArchiveTable, Position
from events.archive.topic import Batch, MessagesMissing, TopicReader
from events.domain.retries import Backoff
from events.errors import StoreUnavailable
from events.kafka.clients import Cluster
from events.telemetry import metrics

log = logging.getLogger(__name__)

COMMIT_ROWS = 100_000
_POLL_SECONDS = 0.2
#: How often to look for new partitions, and whether Kafka answers, while no message comes.
_CHECK_SECONDS = 30.0


@dataclass(slots=True)
class Archived:
    """Result of one run; `conflicts` are commits at which another writer was first."""

    archived: int = 0
    rejected: int = 0
    commits: int = 0
    conflicts: int = 0
    next_offsets: dict[int, int] = field(default_factory=dict)


@dataclass(eq=False)
class Archiver:
    """Archives a topic."""

    cluster: Cluster
    topic: str
    _: KW_ONLY
    #: Name for Kafka's client; no offsets are kept there.
    group: str
    #: Opens the Iceberg catalog, again after each failure.
    open_catalog: Callable[[], Catalog]
    #: A commit is due after so many messages or seconds.
    commit_rows: int = COMMIT_ROWS
    commit_seconds: float = 60.0
    #: Stop at the end that the topic has at the start.
    is_until_end: bool = False
    #: Skip messages that were deleted from the topic, and note them.
    is_gap_accepted: bool = False
    #: How long a failure may last; None retries forever.
    patience_seconds: float | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    #: Why it waits; None while all is well.
    problem: str | None = field(default=None, init=False)
    result: Archived = field(default_factory=Archived, init=False)

    def __post_init__(self) -> None:
        self._backoff = Backoff(base_seconds=1, cap_seconds=30)
        self._stop = threading.Event()
        #: When all was well last; not updated while commits fail, even if reading works.
        self._well_at = self.clock()
        self._is_commit_failing = False

    def stop(self) -> None:
        """Commit what was read, and return from `run`."""
        self._stop.set()

    def run(self) -> Archived:
        """
        Archive until stopped, or until the end.

        Raises:
            MessagesMissing: The next messages were deleted, and gaps are not accepted.
            StoreUnavailable: Kafka or the catalog failed for longer than the patience, or while
                stopping. Messages that are not committed stay in Kafka for the next run.
            StoreRefused: Kafka or the catalog refuses.
        """
        self._well_at = self.clock()
        while not self._stop.is_set():
            commits = self.result.commits
            try:
                if self._attempt():
                    break
            except Conflict as exc:
                # Another archiver runs too; the table may hold by now what was read here.
                self.result.conflicts += 1
                self._is_commit_failing = False
                log.warning("%s: continuing at the table's position", exc)
            except StoreUnavailable as exc:
                if self.result.commits > commits:
                    self._backoff.reset()
                self._pause(exc)
        return self.result

    def _attempt(self) -> bool:
        """Returns True when all is done, False to start again from the table's position."""
        with closing(self.open_catalog()) as catalog:
            try:
                return self._archive(catalog)
            except MessagesMissing as exc:
                if not self.is_gap_accepted:
                    raise
                self._skip(catalog, exc)
                return False

    def _pause(self, exc: StoreUnavailable) -> None:
        lasted = self.clock() - self._well_at
        is_too_long = self.patience_seconds is not None and lasted >= self.patience_seconds
        if self._stop.is_set() or is_too_long:
            raise exc
        self.problem = str(exc)
        wait = self._backoff.next_wait()
        log.warning("%s: trying again in %.1f s", exc, wait)
        self._stop.wait(wait)

    def _archive(self, catalog: Catalog) -> bool:
        """Read and commit from the table's position on; returns as `_attempt`."""
        raw = ArchiveTable(catalog, RAW)
        position = raw.position(self.topic)
        reader = TopicReader(self.cluster, self.topic, group=self.group, position=position)
        with closing(reader):
            start = self.result.next_offsets = dict(reader.next_offsets)
            log.info("reading the topic %s", self.topic, extra={"next_offsets": start})
            batch = Batch()
            begun = checked = self.clock()
            while True:
                for message in reader.read(_POLL_SECONDS):
                    if not batch:
                        begun = self.clock()
                    batch.add(message)
                now = self.clock()
                if not self._is_commit_failing:
                    self._well_at = now
                    self.problem = None
                is_over = self._stop.is_set() or (self.is_until_end and reader.is_at_end)
                is_old = now - begun >= self.commit_seconds
                is_large = len(batch) >= self.commit_rows or batch.is_full
                if batch and (is_over or is_old or is_large):
                    # Also past transaction markers: if Kafka deletes them, that is not a gap.
                    offsets = {**position.next_offsets, **reader.next_offsets}
                    after = Position(reader.topic_id, offsets)
                    self._commit(catalog, raw, batch, before=position, after=after)
                    position = after
                    batch = Batch()
                if is_over:
                    return True
                if not batch and now - checked >= _CHECK_SECONDS:
                    checked = now
                    if len(reader.partitions()) != len(start):
                        log.info("the topic %s has new partitions", self.topic)
                        return False

    def _commit(
        self,
        catalog: Catalog,
        raw: ArchiveTable,
        batch: Batch,
        *,
        before: Position,
        after: Position,
    ) -> None:
        """
        Add a batch to the tables.

        Two tables are two commits. The rejected messages go first, with a position of their own: a
        process that is killed between the commits reads them again, and leaves out the messages
        before that position.
        """
        now = self.now()
        self._is_commit_failing = True
        if batch.rejected:
            self._commit_rejected(catalog, batch, after, now)
        rows = [(*row, now) for row in batch.events]
        raw.append(rows, self.topic, before=before, after=after)
        # From here on these messages are in the archive, whatever happens.
        self.result.archived += len(batch.events)
        self.result.rejected += len(batch.rejected)
        self.result.commits += 1
        self.result.next_offsets = dict(after.next_offsets)
        self._is_commit_failing = False
        metrics.ARCHIVED.labels("event").inc(len(batch.events))
        metrics.ARCHIVED.labels("rejected").inc(len(batch.rejected))
        log.info(
            "archived %s events of %s, rejected %s messages",
            len(batch.events), self.topic, len(batch.rejected),
            extra={"next_offsets": dict(after.next_offsets)},
        )  # fmt: skip

    def _commit_rejected(
        self, catalog: Catalog, batch: Batch, after: Position, now: datetime
    ) -> None:
        table = ArchiveTable(catalog, REJECTED)
        before = table.position(self.topic)
        held = before.next_offsets
        rows = [
            (*row, now)
            for partition, offset, row in batch.rejected
            if offset >= held.get(partition, 0)
        ]
        if rows:
            offsets = {
                partition: max(offset, held.get(partition, 0))
                for partition, offset in after.next_offsets.items()
            }
            after = Position(after.topic_id, offsets)
            table.append(rows, self.topic, before=before, after=after)

    def _skip(self, catalog: Catalog, missing: MessagesMissing) -> None:
        """Move the position past a gap, and note the gap in the table."""
        raw = ArchiveTable(catalog, RAW)
        before = raw.position(self.topic)
        ends = {gap.partition: gap.end for gap in missing.gaps}
        after = Position(before.topic_id, {**before.next_offsets, **ends})
        raw.skip(map(str, missing.gaps), self.topic, before=before, after=after)
        log.warning("%s: skipped", missing)
