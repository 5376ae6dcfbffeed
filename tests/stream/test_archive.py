"""The archive holds every message of the topic once, whatever happens on the way."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import CommitTableResponse

from events.archive.catalog import Conflict
from events.archive.tables import RAW, ArchiveTable, Position
from events.config import Settings
from events.errors import StoreRefused
from tests.stream.archives import (
    archive,
    archived,
    make_archiver,
    offsets_of,
    open_archive,
    produce,
    rows_of,
)
from tests.support.factories import many_events
from tests.support.shell import Shell, until


def test_every_message_is_archived_once_with_duplicates_and_invalid_ones(
    settings: Settings,
) -> None:
    events = many_events(50, customers=5, hours=72)
    produce(settings, [*events, events[0], b"{", None, b'{"customer_id": 1}'])

    done = archive(settings)
    assert (done.archived, done.rejected) == (51, 3)
    assert archived(settings) == Counter([*events, events[0]])
    rejected = {
        row["value"]: (row["field"], row["reason"]) for row in rows_of(settings, "raw_rejected")
    }
    assert rejected.keys() == {b"{", None, b'{"customer_id": 1}'}
    assert rejected[None] == (None, "has no value (a tombstone): void events to correct them")
    assert rejected[b'{"customer_id": 1}'] == ("event_type", "is missing")
    offsets = sorted(offsets_of(settings, "raw") + offsets_of(settings, "raw_rejected"))
    assert offsets == [
        (partition, offset)
        for partition, end in sorted(done.next_offsets.items())
        for offset in range(end)
    ]

    again = archive(settings)
    assert (again.archived, again.rejected) == (0, 0)
    assert archived(settings) == Counter([*events, events[0]])


def test_a_batch_without_valid_events_moves_the_position_too(settings: Settings) -> None:
    produce(settings, [b"{"] * 3)
    assert archive(settings).rejected == 3
    assert archive(settings).rejected == 0
    assert len(rows_of(settings, "raw_rejected")) == 3


def test_a_commit_is_due_after_so_many_rows(settings: Settings) -> None:
    produce(settings, many_events(5), partitions=1)
    archiver = make_archiver(settings, commit_rows=1, commit_seconds=3_600)
    thread = threading.Thread(target=archiver.run)
    thread.start()
    until(lambda: archiver.result.archived == 5)
    produce(settings, many_events(3, seed=1), partitions=1)
    until(lambda: archiver.result.archived == 8)
    assert archiver.result.commits >= 2
    archiver.stop()
    thread.join()


def test_the_table_is_sorted_and_partitioned_by_day(settings: Settings) -> None:
    produce(settings, many_events(60, customers=9, hours=48))
    archive(settings)
    with closing(open_archive(settings)) as catalog:
        table = catalog.load_table(("events", "raw"))
        assert [str(field.transform) for field in table.spec().fields] == ["day"]
        files = [task.file.file_path for task in table.scan().plan_files()]
        rows = table.scan().to_arrow().to_pylist()
    assert len(files) == 2
    for file in files:
        customers = [
            row["customer_id"] for row in rows if f"timestamp_day={row['timestamp'].date()}" in file
        ]
        assert customers == sorted(customers)


# --- kills, signals, and two archivers ------------------------------------------------------------


def test_killed_at_any_moment_it_neither_loses_nor_repeats_a_message(
    shell: Shell, settings: Settings, kills: int, rng: random.Random
) -> None:
    events = many_events(2_000, customers=20, hours=48)
    produce(settings, [b"{" if index % 97 == 0 else one for index, one in enumerate(events)])
    expected = Counter(one for index, one in enumerate(events) if index % 97)

    for number in range(kills):
        command = shell.start("-m", "events", "archive", "--commit-seconds", "0.1")
        until(lambda: "reading the topic" in command.err)  # noqa: B023 - called at once
        # From before the first message to somewhere between the commits.
        time.sleep(rng.uniform(0, 1.5))
        command.process.kill()
        command.process.wait()
        # Each run has something new to commit.
        more = many_events(300, seed=number + 1, customers=20)
        produce(settings, [*more, b"{"])
        expected.update(more)

    ran = shell.call("-m", "events", "archive", "--until-end", "--json")
    assert ran.code == 0, ran.err
    ends = json.loads(ran.out)["next_offsets"]
    assert archived(settings) == expected
    offsets = sorted(offsets_of(settings, "raw") + offsets_of(settings, "raw_rejected"))
    assert offsets == [
        (int(partition), offset) for partition, end in ends.items() for offset in range(end)
    ]


def test_two_archivers_on_one_table_archive_every_message_once(settings: Settings) -> None:
    events = many_events(300, customers=20)
    produce(settings, events)
    archivers = [
        make_archiver(settings, commit_rows=1, commit_seconds=0.1, patience_seconds=60)
        for _ in range(2)
    ]
    threads = [threading.Thread(target=archiver.run) for archiver in archivers]

    def has_archived(number: int) -> bool:
        return sum(archiver.result.archived for archiver in archivers) >= number

    for thread in threads:
        thread.start()
    for number in range(10):
        more = many_events(50, seed=number + 1)
        produce(settings, [*more, b"{"])
        events += more
        # Both fall behind by a batch or two at most, and so commit in turn.
        until(partial(has_archived, len(events) - 100))
    until(partial(has_archived, len(events)))
    until(lambda: len(rows_of(settings, "raw_rejected")) >= 10)
    for archiver in archivers:
        archiver.stop()
    for thread in threads:
        thread.join()
    assert archived(settings) == Counter(events)
    assert len(rows_of(settings, "raw_rejected")) == 10
    assert sum(archiver.result.archived for archiver in archivers) == len(events)


def test_sigterm_commits_the_messages_read(shell: Shell, settings: Settings) -> None:
    produce(settings, many_events(10))
    # By default a commit is due after a minute: here only the signal makes one.
    command = shell.start("-m", "events", "archive", "--json")
    until(lambda: "reading the topic" in command.err)
    time.sleep(3)  # nothing shows that it has read the messages
    command.signal(signal.SIGTERM)
    ran = command.ended()
    assert ran.code == 0
    assert json.loads(ran.out)["archived"] == archived(settings).total() == 10


# --- the position ---------------------------------------------------------------------------------


def test_a_commit_on_an_outdated_position_adds_nothing(settings: Settings) -> None:
    produce(settings, many_events(3))
    with closing(open_archive(settings)) as catalog:
        late = ArchiveTable(catalog, RAW)
        archive(settings)
        topic = settings.events_kafka_topic
        with pytest.raises(Conflict):
            late.append([], topic, before=Position(), after=Position("", {0: 99}))
        assert late.position(topic) == ArchiveTable(catalog, RAW).position(topic)


class Overtaken(SqlCatalog):
    """A catalog in which another writer commits between our look at the table and our commit."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def commit_table(self, *arguments: Any, **named: Any) -> CommitTableResponse:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().commit_table(*arguments, **named)


def test_a_commit_that_is_overtaken_at_the_last_moment_adds_nothing(settings: Settings) -> None:
    topic = settings.events_kafka_topic
    now = datetime(2021, 3, 1, tzinfo=UTC)
    rows = [(*one, 0, offset, now) for offset, one in enumerate(many_events(5))]
    ours = open_archive(settings)
    catalog = Overtaken(ours.name, **ours.properties)
    table, other = ArchiveTable(catalog, RAW), ArchiveTable(ours, RAW)
    after = Position("", {0: 5})
    catalog.meanwhile = lambda: other.append(rows, topic, before=Position(), after=after)
    with pytest.raises(Conflict):
        table.append(rows, topic, before=Position(), after=after)
    assert archived(settings) == Counter(many_events(5))

    # A snapshot that moves no position is a conflict too; the next attempt succeeds.
    iceberg = ours.load_table(("events", "raw"))
    catalog.meanwhile = lambda: iceberg.append(iceberg.scan().to_arrow().slice(0, 0))
    last = Position("", {0: 6})
    with pytest.raises(Conflict):
        table.append(rows[:1], topic, before=after, after=last)
    table.append(rows[:1], topic, before=after, after=last)
    assert archived(settings).total() == 6
    catalog.close()
    ours.close()


def test_the_position_outlives_the_snapshots_that_carry_it(settings: Settings) -> None:
    topic = settings.events_kafka_topic
    produce(settings, many_events(5))
    archive(settings)
    with closing(open_archive(settings)) as catalog:
        table = catalog.load_table(("events", "raw"))
        position = ArchiveTable(catalog, RAW).position(topic)
        assert sum(position.next_offsets.values()) == 5

        # Another writer's snapshot, such as a compaction makes; the older snapshot expires.
        table.append(table.scan().to_arrow().slice(0, 0))
        assert ArchiveTable(catalog, RAW).position(topic) == position
        first = table.snapshots()[0].snapshot_id
        table.maintenance.expire_snapshots().by_id(first).commit()
        assert first not in [snapshot.snapshot_id for snapshot in table.refresh().snapshots()]
        assert ArchiveTable(catalog, RAW).position(topic) == position

    produce(settings, many_events(4, seed=1))
    assert archive(settings).archived == 4


def test_a_table_that_was_rolled_back_gets_the_messages_again(settings: Settings) -> None:
    first, later = many_events(5), many_events(4, seed=1)
    produce(settings, first)
    archive(settings)
    with closing(open_archive(settings)) as catalog:
        snapshot = catalog.load_table(("events", "raw")).snapshots()[0].snapshot_id
        produce(settings, later)
        archive(settings)
        table = catalog.load_table(("events", "raw"))
        table.manage_snapshots().rollback_to_snapshot(snapshot).commit()
    assert archived(settings).total() == 5
    assert archive(settings).archived == 4
    assert archived(settings) == Counter([*first, *later])


def test_an_invalid_position_is_refused() -> None:
    position = Position("abc", {0: 7, 11: 2})
    assert Position.from_json(position.to_json()) == position
    for text in ("", "[]", '{"topic_id": "a"}', '{"topic_id": "a", "next_offsets": {"x": 1}}'):
        with pytest.raises(StoreRefused, match="invalid Kafka position"):
            Position.from_json(text)
