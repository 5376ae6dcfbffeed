"""Starts, watches and stops the stream that `HourlyCounts.java` describes."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyiceberg.catalog import Catalog

from events.archive.catalog import open_catalog
from events.config import Settings
from events.kafka.bounds import read_committed, read_ends
from events.kafka.clients import Cluster, check_topic, make_admin
from jobs.flink.jvm import FlinkFailed, catalog_properties, reason_of
from jobs.lib.iceberg import added_since, claim, make_table
from jobs.lib.publish import make_tables, put_counts
from jobs.lib.tables import NAMESPACE, UNCOUNTED, WINDOWED

_NUMBERS = ("read", "duplicates", "late", "ahead", "rejected", "state_rows")
_PROGRESS_SECONDS = 1.0
_STOP_SECONDS = 60.0
_FLINK = {
    "execution.checkpointing.mode": "EXACTLY_ONCE",
    "execution.checkpointing.interval": "10 s",
    # A crash leaves the newest checkpoint, and the next run takes it over and deletes it in time.
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    "execution.state-recovery.claim-mode": "CLAIM",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "3",
    "restart-strategy.fixed-delay.delay": "1 s",
    # How often the numbers of a local run are new.
    "heartbeat.interval": "1000",
}
_KAFKA = {
    "isolation.level": "read_committed",
    # Small fetches take turns, so that no partition runs far ahead of the others.
    "max.partition.fetch.bytes": "131072",
}


@dataclass
class Stream:
    """One run of the stream, on one folder of checkpoints and savepoints."""

    jvm: Any
    settings: Settings
    folder: Path
    _: KW_ONLY
    watermark_seconds: int
    ahead_seconds: int
    flink: Mapping[str, str]
    kafka: Mapping[str, str]
    catalog_options: Mapping[str, str]
    is_until_end: bool = False
    #: Close all open hours at the end.
    is_drained: bool = False
    is_published: bool = False
    #: Set to stop with a savepoint.
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._cluster = Cluster.of(self.settings)
        self._topic = self.settings.events_kafka_topic

    def run(self, report: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
        """
        Count until stopped, or until the end; returns the numbers of this run.

        Args:
            report: Called when the numbers have changed.
        """
        check_topic(make_admin(self._cluster), self._topic)
        self.folder.mkdir(parents=True, exist_ok=True)
        newest = newest_state(self.folder)
        self._claim(is_new=newest is None)
        if self.is_published:
            make_tables(self.settings)
        ends = read_ends(self._cluster, self._topic, group=self._group)
        job = self.jvm.events.HourlyCounts.start(self._options(newest))
        last: Mapping[str, Any] = {}
        while not self.stop.wait(_PROGRESS_SECONDS):
            if job.getJobStatus().get().isTerminalState():
                job.getJobExecutionResult().get()  # raises its error
                raise FlinkFailed("Flink: the job was cancelled")
            numbers = self._numbers(job.getAccumulators().get())
            if numbers != last:
                report(numbers)
                last = numbers
            self._publish()
            if self.is_until_end and self._is_read(ends):
                break
        self._stop(job)
        self._publish()
        return self._numbers(job.getJobExecutionResult().get().getAllAccumulatorResults())

    def _claim(self, *, is_new: bool) -> None:
        """Create the tables, and check that they belong to the folder's stream."""
        file = self.folder / "stream-id"
        if not file.exists():
            file.write_text(uuid.uuid4().hex, encoding="utf-8")
        stream_id = file.read_text(encoding="utf-8")
        # Flink only writes offsets there, for `_is_read` and for monitoring. Those of another
        # stream would tell the wrong thing.
        self._group = f"{self.settings.events_kafka_group}.flink-{stream_id}"
        with closing(self._open_catalog()) as catalog:
            make_table(catalog, UNCOUNTED)
            claim(make_table(catalog, WINDOWED), stream_id, is_new=is_new)

    def _open_catalog(self) -> Catalog:
        return open_catalog(self.settings.iceberg_catalog_name, self.settings.iceberg_folder)

    def _options(self, newest: Path | None) -> dict[str, str]:
        state = self.folder.absolute().as_uri()
        flink = {**_FLINK, "execution.checkpointing.dir": state}
        if newest is not None:
            flink["execution.state-recovery.path"] = newest.absolute().as_uri()
        kafka = {
            **_KAFKA,
            "bootstrap.servers": self.settings.events_kafka_bootstrap_servers,
            "group.id": self._group,
        }
        catalog = catalog_properties(self.settings, self.catalog_options)
        return {
            "topic": self._topic,
            "watermark-seconds": str(self.watermark_seconds),
            "ahead-seconds": str(self.ahead_seconds),
            "counts": f"{NAMESPACE}.{WINDOWED}",
            "uncounted": f"{NAMESPACE}.{UNCOUNTED}",
            **{f"flink.{name}": value for name, value in {**flink, **self.flink}.items()},
            **{f"kafka.{name}": value for name, value in {**kafka, **self.kafka}.items()},
            **{f"catalog.{name}": value for name, value in catalog.items()},
        }

    def _numbers(self, accumulators: Mapping[str, int]) -> Mapping[str, Any]:
        numbers = {name: accumulators.get(name) or 0 for name in _NUMBERS}
        return {**numbers, "state_bytes": size_of_newest(self.folder)}

    def _is_read(self, ends: Mapping[int, int]) -> bool:
        """Whether a checkpoint has all messages before these ends: then Flink commits offsets."""
        committed = read_committed(self._cluster, self._topic, ends, group=self._group)
        return all(committed.get(partition, 0) >= end for partition, end in ends.items())

    def _stop(self, job: Any) -> None:
        """Stop with a savepoint; Flink refuses one before all its tasks run."""
        formats = self.jvm.org.apache.flink.core.execution.SavepointFormatType
        deadline = time.monotonic() + _STOP_SECONDS
        while True:
            try:
                target = self.folder.absolute().as_uri()
                job.stopWithSavepoint(self.is_drained, target, formats.CANONICAL).get()
                return
            except Py4JJavaError as exc:
                if time.monotonic() > deadline:
                    raise FlinkFailed(reason_of(exc.java_exception)) from exc
                time.sleep(_PROGRESS_SECONDS)

    def _publish(self) -> None:
        """Write the hours that were closed since the last call to the store."""
        if not self.is_published:
            return
        file = self.folder / "published"
        last = int(file.read_text(encoding="utf-8")) if file.exists() else None
        with closing(self._open_catalog()) as catalog:
            table = make_table(catalog, WINDOWED)
            snapshot = table.current_snapshot()
            if snapshot is None or snapshot.snapshot_id == last:
                return
            counts = added_since(table, last)
            put_counts(self.settings.model_dump(), datetime.now(UTC), counts)
        file.write_text(str(snapshot.snapshot_id), encoding="utf-8")


def newest_state(folder: Path) -> Path | None:
    """The newest complete checkpoint or savepoint in a folder."""
    complete = []
    # Flink deletes older checkpoints meanwhile. `os.walk` skips a folder that is gone.
    for name, _, files in os.walk(folder):
        with suppress(FileNotFoundError):
            if "_metadata" in files:
                complete.append(((Path(name) / "_metadata").stat().st_mtime_ns, name))
    return Path(max(complete)[1]) if complete else None


def size_of_newest(folder: Path) -> int:
    """Bytes of the newest checkpoint or savepoint, or what is left of it."""
    size = 0
    for name, _, files in os.walk(newest_state(folder) or ""):
        for file in files:
            with suppress(FileNotFoundError):
                size += (Path(name) / file).stat().st_size
    return size
