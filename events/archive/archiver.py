"""
Kafka to Iceberg: every message of the topic in the archive, once.

A commit adds rows and the offsets after them to a table in one step, and whoever begins asks the
table where to go on. So wherever a process is killed, a message is in the table or is read again,
and never both.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyiceberg.catalog import Catalog

from events.archive.batches import Batch, stamped
from events.archive.catalog import Conflict, open_catalog
from events.archive.positions import Position
from events.archive.tables import RAW, REJECTED, ArchiveTable
from events.archive.topic import MessagesMissing, TopicReader
from events.config import Settings
from events.errors import StoreUnavailable
from events.telemetry import metrics

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
#: Messages in memory after which a commit is made.
MAX_ROWS = 100_000
#: How often it looks for new partitions, and whether Kafka is there when nothing comes.
_LOOK_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class Archived:
    """What one run did; `conflicts` are commits at which somebody else was first."""

    archived: int = 0
    rejected: int = 0
    commits: int = 0
    conflicts: int = 0
    next_offsets: dict[int, int] = field(default_factory=dict)


class Archiver:
    """
    Archives the topic of the settings.

    Args:
        is_until_end: Stop when all is archived that the topic had at the start.
        is_gap_accepted: Go on after messages that the topic no longer has.
        patience_seconds: How long a failure may last; None is for ever.
        max_rows: Commit after this many messages.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        is_until_end: bool = False,
        is_gap_accepted: bool = False,
        patience_seconds: float | None = None,
        max_rows: int = MAX_ROWS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._topic = settings.events_kafka_topic
        self._is_until_end = is_until_end
        self._is_gap_accepted = is_gap_accepted
        self._patience_seconds = patience_seconds
        self._max_rows = max_rows
        self._now = now
        self._clock = clock
        self._stop = threading.Event()
        #: When nothing was wrong last; it stands still while commits fail, however well it reads.
        self._well_at = clock()
        self._is_commit_failing = False
        self.result = Archived()

    def stop(self) -> None:
        """Commit what was read, and return from `run`."""
        self._stop.set()

    def run(self) -> Archived:
        """
        Archive until it is stopped, or to the end.

        Raises:
            MessagesMissing: The topic no longer has what comes next, and that is not accepted.
            StoreUnavailable: Kafka or the catalog failed for longer than the patience, or while it
                was stopping. What is not committed is in Kafka, and the next run takes it.
            StoreRefused: Kafka or the catalog says no.
        """
        failures = 0
        self._well_at = self._clock()
        while not self._stop.is_set():
            done_before = self.result.commits
            try:
                if self._attempt():
                    break
            except Conflict as exc:
                # Somebody else archives as well: what was read may be in the table by now.
                self.result.conflicts += 1
                self._is_commit_failing = False
                log.warning("%s: reading on from where the table is now", exc)
            except StoreUnavailable as exc:
                failures = 1 if self.result.commits > done_before else failures + 1
                self._pause(exc, failures)
        return self.result

    def _attempt(self) -> bool:
        """Whether all is done; False says to begin anew."""
        try:
            return self._from_the_table_on()
        except MessagesMissing as exc:
            if not self._is_gap_accepted:
                raise
            self._pass_over(exc)
            return False

    def _pause(self, exc: StoreUnavailable, failures: int) -> None:
        lasted = self._clock() - self._well_at
        if self._stop.is_set():
            raise exc
        if self._patience_seconds is not None and lasted >= self._patience_seconds:
            raise exc
        longest = min(_LONGEST_PAUSE_SECONDS, 0.5 * 2 ** min(failures, 10))
        pause = random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, hides nothing
        log.warning("%s: trying again in %.1f s", exc, pause)
        self._stop.wait(pause)

    # --- one beginning, until something goes wrong ------------------------------------------------

    def _from_the_table_on(self) -> bool:
        """Read and commit from the table's position on; False says to begin anew."""
        catalog = open_catalog(self._settings)
        try:
            return self._on(catalog)
        finally:
            catalog.close()

    def _on(self, catalog: Catalog) -> bool:
        raw = ArchiveTable(catalog, RAW)
        position = raw.position(self._topic)
        with TopicReader(self._settings, position) as reader:
            self.result.next_offsets = dict(reader.start)
            partitions = len(reader.start)
            batch = Batch()
            begun = looked = self._clock()
            while True:
                for message in reader.read(_POLL_SECONDS):
                    if not batch:
                        begun = self._clock()
                    batch.add(message)
                at = self._clock()
                if not self._is_commit_failing:
                    self._well_at = at
                is_over = self._stop.is_set() or (self._is_until_end and reader.is_at_end)
                is_old = at - begun >= self._settings.events_archive_seconds
                is_large = len(batch) >= self._max_rows or batch.is_full
                if batch and (is_over or is_old or is_large):
                    # Marks of transactions too: they may be deleted, and are no gap then.
                    offsets = {**position.next_offsets, **reader.next_offsets}
                    after = Position(reader.topic_id, offsets)
                    self._commit(catalog, raw, batch, before=position, after=after)
                    position = after
                    batch = Batch()
                if is_over:
                    return True
                if not batch and at - looked >= _LOOK_SECONDS:
                    looked = at
                    if len(reader.partitions()) != partitions:
                        log.info("the topic %s has more partitions", self._topic)
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

        Two tables are two commits. The rejected messages go first, with a position of their own:
        a process that is killed in between reads them again, and leaves out those before it.
        """
        at = self._now()
        self._is_commit_failing = True
        if batch.rejected:
            self._commit_rejected(catalog, batch, after, at)
        raw.append(stamped(batch.events, at), self._topic, before=before, after=after)
        # From here on these messages are in the table, for ever.
        self.result.archived += len(batch.events)
        self.result.rejected += len(batch.rejected)
        self.result.commits += 1
        self.result.next_offsets = dict(after.next_offsets)
        self._is_commit_failing = False
        metrics.ARCHIVED.labels("event").inc(len(batch.events))
        metrics.ARCHIVED.labels("rejected").inc(len(batch.rejected))
        log.info(
            "archived %s events of %s, %s messages were none",
            len(batch.events), self._topic, len(batch.rejected),
            extra={"next_offsets": dict(after.next_offsets)},
        )  # fmt: skip

    def _commit_rejected(
        self, catalog: Catalog, batch: Batch, after: Position, at: datetime
    ) -> None:
        table = ArchiveTable(catalog, REJECTED)
        there = table.position(self._topic)
        held = there.next_offsets
        rows = [row for place, offset, row in batch.rejected if offset >= held.get(place, 0)]
        if rows:
            most = {
                place: max(offset, held.get(place, 0))
                for place, offset in after.next_offsets.items()
            }
            after = Position(after.topic_id, most)
            table.append(stamped(rows, at), self._topic, before=there, after=after)

    def _pass_over(self, missing: MessagesMissing) -> None:
        """Move the position past a gap, and note it in the table."""
        catalog = open_catalog(self._settings)
        try:
            raw = ArchiveTable(catalog, RAW)
            before = raw.position(self._topic)
            ends = {gap.partition: gap.end for gap in missing.gaps}
            after = Position(before.topic_id, {**before.next_offsets, **ends})
            raw.note_gaps(map(str, missing.gaps), self._topic, before=before, after=after)
        finally:
            catalog.close()
        log.warning("%s: passed over", missing)
