"""What each path of `demo` has counted, compared at one end of the topic."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import ProxyHandler, build_opener

from events.archive.catalog import open_catalog
from events.archive.tables import NAMESPACE, RAW, ArchiveTable
from events.cli import counted
from events.cli.demoevents import Generator
from events.config import Settings
from events.domain.parsing import COLUMNS
from events.domain.timestamps import format_timestamp, utc_now
from events.domain.windows import HOUR, floor_hour
from events.errors import StoreUnavailable
from events.kafka.bounds import read_committed, read_ends
from events.kafka.clients import Cluster

#: (customer, event type, start of the hour) → events.
Counts = Mapping[tuple[str, str, str], int]
#: Partition → the offset after its last message.
Offsets = Mapping[int, int]
Row = Mapping[str, Any]

_PAUSE_SECONDS = 10
_EVERYTHING = "prefix=&start=0001-01-01&end=9999-12-31&group_by=event_type&format=jsonl"


class Side(NamedTuple):
    """What one path has counted; None if that cannot be compared, and the note says why."""

    name: str
    counts: Counts | None
    note: str = ""
    #: What it should have counted, if not the same as the other paths.
    expected: Counts | None = None


def report(sides: Iterable[Side]) -> Iterator[str]:
    """One line for each path: its count, and whether it equals the first known one."""
    first: Side | None = None
    for side in sides:
        notes = [side.note] if side.note else []
        number = "-"
        if side.counts is not None:
            number = f"{sum(side.counts.values()):,}"
            first = first or side
            expected = side.expected if side.expected is not None else first.counts
            notes = [difference(side.counts, expected or {}), *notes][side is first :]
        yield f"  {side.name:10}{number:>9}  {'; '.join(notes)}".rstrip()


def difference(counts: Counts, expected: Counts) -> str:
    """`equal`, or by how much the counts differ, and where first."""
    more, less = Counter(counts) - Counter(expected), Counter(expected) - Counter(counts)
    if not more and not less:
        return "equal"
    first = min((*more, *less), key=lambda cell: (cell[2], cell))
    return (
        f"DIFFERS: {more.total():,} too many and {less.total():,} too few in "
        f"{counted(len({*more, *less}), 'count')}, first {' '.join(first)}: "
        f"{counts.get(first, 0):,} instead of {expected.get(first, 0):,}"
    )


class Comparison(NamedTuple):
    """The lines of one comparison; `has_archive` if there are events in the archive."""

    text: str
    has_archive: bool = False


class _Stream(NamedTuple):
    """The stream's counts: of all messages before `ends`, in the hours before `open_from`."""

    counts: Counts
    ends: Offsets
    open_from: str


@dataclass
class Paths:
    """
    Reads what each path has counted.

    Args:
        wait: Waits until a condition holds, for so many seconds; returns whether it does.
    """

    settings: Settings
    url: str
    folder: Path
    is_flink: bool
    generator: Generator
    wait: Callable[[Callable[[], object], float], bool]

    def __post_init__(self) -> None:
        self._cluster, self._topic = Cluster.of(self.settings), self.settings.events_kafka_topic
        self._group = self.settings.events_kafka_group
        name, folder = self.settings.iceberg_catalog_name, self.settings.iceberg_folder
        self._catalog = open_catalog(name, folder)

    def compare(self, seconds: float) -> Comparison:
        """
        Compare all paths at the end that the topic has now.

        The generator pauses until the counters and the bill have all messages, and are read. The
        archive and the stream, whose rows have offsets, may take so many seconds more.
        """
        with self.generator.paused():
            ends = self.ends()
            self.wait(lambda: not any(self._lags(ends)), _PAUSE_SECONDS)
            counters_lag, bill_lag = self._lags(ends)
            counters = None if counters_lag else self._counters()
            bill = None if bill_lag else self._bill()
            stream = self._stream(ends)
            if self.ends() != ends:
                return Comparison("not compared: another producer sends to the topic")
        self.wait(lambda: not self._archive_lag(ends), seconds)
        archive, rows = None, []
        text = f"{utc_now():%H:%M:%S}  {sum(ends.values()):,} messages"
        if not (archive_lag := self._archive_lag(ends)):
            rows = [row for row in self._table(RAW) if _is_before(row, ends)]
            archive = _recount(rows)
            invalid, duplicates = sum(ends.values()) - len(rows), len(rows) - archive.total()
            text += f", {counted(duplicates, 'duplicate')}, {invalid:,} invalid"
        sides = (
            Side("counters", counters, _behind(counters_lag)),
            Side("archive", archive, _behind(archive_lag, ": its next commit is due")),
            self._compared(stream, rows, ends, seconds),
            Side("bill", bill, _behind(bill_lag)),
        )
        return Comparison("\n".join([text, *report(sides)]), has_archive=bool(rows))

    def ends(self) -> Offsets:
        return read_ends(self._cluster, self._topic, group=self._group)

    def _lags(self, ends: Offsets) -> tuple[int, int]:
        """How many messages the counters and the bill do not have yet."""
        billed = dict(self._billing("SELECT partition, next_offset FROM billing_offsets"))
        return self._lag_of(self._group, ends), _lag(billed, ends)

    def _lag_of(self, group: str, ends: Offsets) -> int:
        return _lag(read_committed(self._cluster, self._topic, ends, group=group), ends)

    def _counters(self) -> Counts:
        direct = build_opener(ProxyHandler({}))
        with direct.open(f"{self.url}/events/buckets?{_EVERYTHING}", timeout=60) as lines:
            return {
                (bucket["customer_id"], event_type, bucket["ts_start_of_hour"]): count
                for bucket in map(json.loads, lines)
                for event_type, count in bucket["counts"].items()
            }

    def _bill(self) -> Counts:
        rows = self._billing("SELECT customer_id, event_type, hour, units FROM billing_usage")
        return {tuple(cell): units for *cell, units in rows}

    def _billing(self, query: str) -> list[Any]:
        """Rows of the billing database; none before its tables exist."""
        with closing(sqlite3.connect(self.folder / "billing.sqlite")) as database:
            try:
                return database.execute(query).fetchall()
            except sqlite3.OperationalError as exc:
                if "no such table" in str(exc):
                    return []
                raise StoreUnavailable(f"cannot read the bill: {exc}") from exc

    def _archive_lag(self, ends: Offsets) -> int:
        if not self._catalog.table_exists((NAMESPACE, RAW)):
            return sum(ends.values())
        return _lag(ArchiveTable(self._catalog, RAW).position(self._topic).next_offsets, ends)

    def _table(self, name: str) -> list[Row]:
        """The rows of a table; none before it exists."""
        if not self._catalog.table_exists((NAMESPACE, name)):
            return []
        rows: list[Row] = self._catalog.load_table((NAMESPACE, name)).scan().to_arrow().to_pylist()
        return rows

    # --- the stream -------------------------------------------------------------------------------

    def _stream(self, ends: Offsets) -> _Stream | None:
        rows = self._table("windowed_counts")
        if not rows:
            return None
        counts = {_cell(row, "hour"): row["count"] for row in rows}
        if self.is_flink:
            # A row is an hour that was closed by a message before these ends, and stays as it is.
            return _Stream(counts, ends, _hour(max(row["hour"] for row in rows) + HOUR))
        # The newest batch in the table has all messages before the ends in the checkpoint.
        batch = self.folder / "checkpoint" / "offsets" / str(max(row["batch_id"] for row in rows))
        ends = json.loads(batch.read_text(encoding="utf-8").splitlines()[-1])[self._topic]
        return _Stream(counts, {int(number): end for number, end in ends.items()}, "9999")

    def _compared(
        self, stream: _Stream | None, rows: Iterable[Row], ends: Offsets, seconds: float
    ) -> Side:
        if stream is None or not rows:
            return Side("stream", None, "needs the archive" if stream else "no counts yet")
        late: set[tuple[int, int]] = set()
        note = _behind(_lag(stream.ends, ends))
        if self.is_flink:
            if not self._has_uncounted(stream.ends, seconds):
                return Side("stream", None, "behind: its next checkpoint is due")
            uncounted = (row for row in self._table("uncounted") if _is_before(row, stream.ends))
            late = {_position(row) for row in uncounted if row["reason"] == "late"}
            hour = stream.open_from[:16].replace("T", " ")
            number = counted(len(late), "late message")
            note = f"hours from {hour} on are open, {number} in events.uncounted"
        expected = _recount(
            row
            for row in rows
            if _is_before(row, stream.ends)
            and _hour(row["timestamp"]) < stream.open_from
            and _position(row) not in late
        )
        return Side("stream", stream.counts, note, expected)

    def _has_uncounted(self, ends: Offsets, seconds: float) -> bool:
        """Wait until `events.uncounted` has its messages before these ends; it has no offsets."""
        folder = self.folder / "checkpoint"
        group = f"{self._group}.flink-{(folder / 'stream-id').read_text(encoding='utf-8')}"
        if not self.wait(lambda: not self._lag_of(group, ends), seconds):
            return False
        # Flink commits offsets when their checkpoint is complete: this one or one before it. The
        # table's snapshots say which checkpoint was the last one with rows for it.
        newest = max((int(path.name[4:]) for path in folder.glob("*/chk-*")), default=0)
        return self.wait(lambda: self._checkpoint_of("uncounted") >= newest, seconds)

    def _checkpoint_of(self, name: str) -> int:
        snapshot = self._catalog.load_table((NAMESPACE, name)).current_snapshot()
        summary = snapshot.summary if snapshot else None
        return int(summary["flink.max-committed-checkpoint-id"] or 0) if summary else 0


def _lag(offsets: Offsets, ends: Offsets) -> int:
    return sum(max(0, end - offsets.get(partition, 0)) for partition, end in ends.items())


def _behind(lag: int, why: str = "") -> str:
    return f"{counted(lag, 'message')} behind{why}" if lag else ""


def _position(row: Row) -> tuple[int, int]:
    return row["kafka_partition"], row["kafka_offset"]


def _is_before(row: Row, ends: Offsets) -> bool:
    partition, offset = _position(row)
    return offset < ends.get(partition, 0)


def _recount(rows: Iterable[Row]) -> Counter[tuple[str, str, str]]:
    events = {tuple(row[name] for name in COLUMNS): _cell(row, "timestamp") for row in rows}
    return Counter(events.values())


def _cell(row: Row, time: str) -> tuple[str, str, str]:
    return row["customer_id"], row["event_type"], _hour(row[time])


def _hour(at: datetime) -> str:
    return format_timestamp(floor_hour(at))
