"""The archive: every message of the topic is in it once, whatever happens on the way."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import CommitTableResponse

from events.archive.archiver import Archived, Archiver
from events.archive.catalog import Conflict, open_catalog
from events.archive.positions import Position, position_of
from events.archive.tables import RAW, ArchiveTable
from events.archive.topic import MessagesMissing
from events.config import Settings
from events.errors import StoreRefused, StoreUnavailable
from events.kafka.clients import ensure_topics
from events.local import kafka
from tests.stream.archives import archived, places, produce, produce_in_transaction, rows_of
from tests.support.factories import environment_of, many_events
from tests.support.shell import Shell, until

SEED = 7
KILLS = 20


@pytest.fixture
def shell(tmp_path: Path, settings: Settings) -> Iterator[Shell]:
    """Runs commands with the settings of this test."""
    shell = Shell(tmp_path / "shell", environment_of(settings))
    yield shell
    shell.end()


def archive(settings: Settings, **more: Any) -> Archived:
    return Archiver(settings, is_until_end=True, patience_seconds=30, **more).run()


def counted(done: Archived) -> tuple[int, int]:
    return done.archived, done.rejected


# --- what is in it --------------------------------------------------------------------------------


def test_every_message_is_archived_once_also_a_duplicate_and_one_that_is_no_event(
    settings: Settings,
) -> None:
    events = many_events(50, customers=5, hours=72)
    produce(settings, [*events, events[0], b"no JSON", None, b'{"customer_id": 1}'])

    done = archive(settings)
    assert counted(done) == (51, 3)
    assert archived(settings) == Counter([*events, events[0]])
    reasons = Counter(
        (row["field"], row["reason"], row["value"]) for row in rows_of(settings, "raw_rejected")
    )
    assert reasons == {
        (None, "is not valid JSON: invalid character (byte 4)", b"no JSON"): 1,
        (None, "has no value", None): 1,
        ("event_type", "is missing", b'{"customer_id": 1}'): 1,
    }
    every = places(settings, "raw") + places(settings, "raw_rejected")
    assert sorted(every) == [(each, at) for each, end in sorted(done.next_offsets.items())
                             for at in range(end)]  # fmt: skip

    assert counted(archive(settings)) == (0, 0)
    assert archived(settings) == Counter([*events, events[0]])


def test_a_batch_without_a_single_event_moves_the_position_too(settings: Settings) -> None:
    produce(settings, [b"{"] * 3)
    assert counted(archive(settings)) == (0, 3)
    assert counted(archive(settings)) == (0, 0)
    assert len(rows_of(settings, "raw_rejected")) == 3


def test_commits_are_as_large_as_the_settings_say(settings: Settings) -> None:
    produce(settings, many_events(30))
    done = archive(settings, max_rows=1)
    assert done.archived == 30
    assert done.commits >= 1
    assert archived(settings).total() == 30


def test_the_table_is_sorted_and_partitioned_by_the_day_of_the_event(settings: Settings) -> None:
    produce(settings, many_events(60, customers=9, hours=48))
    archive(settings)
    catalog = open_catalog(settings)
    table = catalog.load_table(("events", "raw"))
    assert [str(field.transform) for field in table.spec().fields] == ["day"]
    files = [task.file.file_path for task in table.scan().plan_files()]
    assert len(files) == 2
    for file in files:
        names = [
            row["customer_id"]
            for row in table.scan().to_arrow().to_pylist()
            if f"timestamp_day={row['timestamp'].date()}" in file
        ]
        assert names == sorted(names)
    catalog.close()


# --- killed, and two at a time --------------------------------------------------------------------


def test_killed_at_any_moment_it_neither_loses_nor_repeats_a_message(
    shell: Shell, settings: Settings
) -> None:
    rng = random.Random(SEED)
    events = many_events(4_000, customers=20, hours=48)
    produce(
        settings, [b"no event" if place % 97 == 0 else each for place, each in enumerate(events)]
    )
    shell.settings["EVENTS_ARCHIVE_SECONDS"] = "0.1"
    expected = Counter(each for place, each in enumerate(events) if place % 97)

    for number in range(KILLS):
        command = shell.start("-m", "events", "archive")
        # From before the first read to somewhere in the commits: it starts in about a second.
        time.sleep(rng.uniform(0.6, 3.0))
        command.process.kill()
        command.process.wait()
        # Something new each time, so that every run has something to commit.
        more = many_events(300, seed=number + 1, customers=20)
        produce(settings, [*more, b"no event either"])
        expected.update(more)

    ran = shell.run("-m", "events", "archive", "--until-end", "--json")
    assert ran.code == 0, ran.err
    ends = json.loads(ran.out)["next_offsets"]
    assert archived(settings) == expected
    every = sorted(places(settings, "raw") + places(settings, "raw_rejected"))
    assert every == [(int(each), at) for each, end in ends.items() for at in range(end)]


def test_two_at_a_time_on_one_table_archive_every_message_once(settings: Settings) -> None:
    events = many_events(300, customers=20)
    produce(settings, events)
    often = settings.model_copy(update={"events_archive_seconds": 0.1})
    archivers = [Archiver(often, patience_seconds=60, max_rows=1) for _ in range(2)]
    threads = [threading.Thread(target=each.run) for each in archivers]
    for thread in threads:
        thread.start()
    for number in range(10):
        more = many_events(50, seed=number + 1)
        produce(settings, [*more, b"no event"])
        events += more
        time.sleep(0.4)
    until(lambda: archived(settings).total() >= len(events))
    for each in archivers:
        each.stop()
    for thread in threads:
        thread.join()
    assert archived(settings) == Counter(events)
    assert len(rows_of(settings, "raw_rejected")) == 10
    assert sum(each.result.archived for each in archivers) == len(events)


def test_a_commit_on_a_position_that_is_no_longer_the_table_s_adds_nothing(
    settings: Settings,
) -> None:
    produce(settings, many_events(3))
    catalog = open_catalog(settings)
    late = ArchiveTable(catalog, RAW)
    archive(settings)
    topic = settings.events_kafka_topic
    with pytest.raises(Conflict):
        late.append([], topic, before=Position(), after=Position("", {0: 99}))
    assert late.position(topic) == ArchiveTable(catalog, RAW).position(topic)
    catalog.close()


class Overtaken(SqlCatalog):
    """A catalog in which somebody else commits between our look at the table and our commit."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def commit_table(self, *arguments: Any, **named: Any) -> CommitTableResponse:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().commit_table(*arguments, **named)


def test_a_commit_that_is_overtaken_at_the_last_moment_adds_nothing(settings: Settings) -> None:
    topic = settings.events_kafka_topic
    at = datetime(2021, 3, 1, tzinfo=UTC)
    rows = [(*each, 0, place, at) for place, each in enumerate(many_events(5))]
    ours = open_catalog(settings)
    catalog = Overtaken(ours.name, **ours.properties)
    table, other = ArchiveTable(catalog, RAW), ArchiveTable(ours, RAW)
    after = Position("", {0: 5})
    catalog.meanwhile = lambda: other.append(rows, topic, before=Position(), after=after)
    with pytest.raises(Conflict):
        table.append(rows, topic, before=Position(), after=after)
    assert archived(settings) == Counter(many_events(5))

    # A snapshot that moves no position is a conflict as well; the next look finds nothing wrong.
    iceberg = ours.load_table(("events", "raw"))
    catalog.meanwhile = lambda: iceberg.append(iceberg.scan().to_arrow().slice(0, 0))
    last = Position("", {0: 6})
    with pytest.raises(Conflict):
        table.append(rows[:1], topic, before=after, after=last)
    table.append(rows[:1], topic, before=after, after=last)
    assert archived(settings).total() == 6
    catalog.close()
    ours.close()


def test_told_to_stop_it_commits_what_it_has_read(shell: Shell, settings: Settings) -> None:
    produce(settings, many_events(10))
    command = shell.start("-m", "events", "archive", "--json")
    # The age of a commit is a minute by default: nothing but the signal can make it.
    until(lambda: "raw" in str(list(Path(settings.iceberg_folder).rglob("raw"))))
    time.sleep(2)
    command.signal(signal.SIGTERM)
    ran = command.ended()
    assert ran.code == 0
    assert json.loads(ran.out)["archived"] == 10
    assert archived(settings).total() == 10


# --- where the position is ------------------------------------------------------------------------


def test_the_position_outlives_the_snapshots_that_carry_it(settings: Settings) -> None:
    topic = settings.events_kafka_topic
    produce(settings, many_events(5))
    archive(settings)
    catalog = open_catalog(settings)
    table = catalog.load_table(("events", "raw"))
    position = ArchiveTable(catalog, RAW).position(topic)
    assert sum(position.next_offsets.values()) == 5

    # A snapshot of somebody else's, as a compaction makes it, and the older one expired.
    table.append(table.scan().to_arrow().slice(0, 0))
    assert ArchiveTable(catalog, RAW).position(topic) == position
    first = table.snapshots()[0].snapshot_id
    table.maintenance.expire_snapshots().by_id(first).commit()
    assert [each.snapshot_id for each in table.refresh().snapshots()] != [first]
    assert ArchiveTable(catalog, RAW).position(topic) == position
    catalog.close()

    produce(settings, many_events(4, seed=1))
    assert counted(archive(settings)) == (4, 0)


def test_a_table_that_was_rolled_back_gets_the_messages_again(settings: Settings) -> None:
    produce(settings, many_events(5))
    archive(settings)
    catalog = open_catalog(settings)
    first = catalog.load_table(("events", "raw")).snapshots()[0].snapshot_id
    produce(settings, many_events(4, seed=1))
    archive(settings)
    table = catalog.load_table(("events", "raw"))
    table.manage_snapshots().rollback_to_snapshot(first).commit()
    catalog.close()
    assert archived(settings).total() == 5
    assert counted(archive(settings)) == (4, 0)
    assert archived(settings) == Counter([*many_events(5), *many_events(4, seed=1)])


def test_a_position_that_is_no_position_is_refused() -> None:
    position = Position("abc", {0: 7, 11: 2})
    assert position_of(position.as_text()) == position
    for text in ("", "[]", '{"topic_id": "a"}', '{"topic_id": "a", "next_offsets": {"x": 1}}'):
        with pytest.raises(StoreRefused):
            position_of(text)


# --- what is missing ------------------------------------------------------------------------------


def delete_before(settings: Settings, end: int, *, partitions: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": settings.events_kafka_bootstrap_servers})
    places = [
        TopicPartition(settings.events_kafka_topic, partition, end)
        for partition in range(partitions)
    ]
    for future in admin.delete_records(places).values():
        future.result()


def test_messages_that_were_deleted_before_they_were_read_stop_it_and_are_named(
    settings: Settings,
) -> None:
    produce(settings, many_events(5), partitions=1)
    archive(settings)
    later = many_events(6, seed=1)
    produce(settings, later)
    delete_before(settings, 8)

    with pytest.raises(MessagesMissing, match="partition 0: offsets 5 to 7"):
        archive(settings)
    assert archived(settings).total() == 5

    assert counted(archive(settings, is_gap_accepted=True)) == (3, 0)
    assert archived(settings) == Counter([*many_events(5), *later[3:]])
    catalog = open_catalog(settings)
    gaps = ArchiveTable(catalog, RAW).gaps(settings.events_kafka_topic)
    assert gaps == ["partition 0: offsets 5 to 7"]
    catalog.close()


def test_the_mark_of_a_transaction_that_was_deleted_is_no_message_that_is_missing(
    settings: Settings,
) -> None:
    produce_in_transaction(settings, many_events(3))
    assert counted(archive(settings)) == (3, 0)
    delete_before(settings, 4)
    assert counted(archive(settings)) == (0, 0)


def test_a_topic_that_was_made_anew_is_not_read_on(settings: Settings) -> None:
    topic = settings.events_kafka_topic
    produce(settings, many_events(5))
    archive(settings)
    admin = AdminClient({"bootstrap.servers": settings.events_kafka_bootstrap_servers})
    admin.delete_topics([topic])[topic].result()
    until(lambda: topic not in admin.list_topics(timeout=10).topics)
    ensure_topics(settings, topic)
    produce(settings, many_events(50, seed=1))
    with pytest.raises(StoreRefused, match="made anew"):
        archive(settings)


def test_a_kafka_that_is_not_there_is_waited_for_and_then_said(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"events_kafka_bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(StoreUnavailable):
        Archiver(nowhere, is_until_end=True, patience_seconds=0).run()


def test_a_topic_that_is_not_there_yet_is_waited_for(settings: Settings) -> None:
    with pytest.raises(StoreUnavailable, match="there is no topic"):
        Archiver(settings, is_until_end=True, patience_seconds=0).run()
    archiver = Archiver(settings)
    thread = threading.Thread(target=archiver.run)
    thread.start()
    produce(settings, many_events(3))
    time.sleep(2)
    archiver.stop()
    thread.join()
    assert counted(archive(settings))[0] + archiver.result.archived == 3


def test_a_kafka_that_goes_away_is_waited_for(settings: Settings, tmp_path: Path) -> None:
    data = tmp_path / "kafka"
    with kafka.start(data_folder=data) as server:
        own = settings.model_copy(
            update={
                "events_kafka_bootstrap_servers": server.bootstrap_servers,
                "events_archive_seconds": 0.5,
            }
        )
        produce(own, many_events(10))
        archiver = Archiver(own)
        thread = threading.Thread(target=archiver.run)
        thread.start()
        until(lambda: archiver.result.archived == 10)
        port = server.port
    with kafka.start(port=port, data_folder=data):
        produce(own, many_events(10, seed=1))
        until(lambda: archiver.result.archived == 20)
        archiver.stop()
        thread.join()
    assert archived(own) == Counter([*many_events(10), *many_events(10, seed=1)])


def test_a_catalog_that_cannot_be_reached_is_waited_for_and_then_said(
    settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "a-file"
    file.write_text("no folder", encoding="utf-8")
    nowhere = settings.model_copy(update={"events_iceberg_catalog": f"{file}/events"})
    with pytest.raises(StoreUnavailable):
        Archiver(nowhere, is_until_end=True, patience_seconds=0).run()


def test_new_partitions_of_the_topic_are_archived_too(settings: Settings) -> None:
    from confluent_kafka.cimpl import NewPartitions

    produce(settings, many_events(5))
    archive(settings)
    admin = AdminClient({"bootstrap.servers": settings.events_kafka_bootstrap_servers})
    topic = settings.events_kafka_topic
    admin.create_partitions([NewPartitions(topic, 6)])[topic].result()
    until(lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 6)
    time.sleep(1)
    more = many_events(60, seed=1, customers=40)
    produce(settings, more)
    done = archive(settings)
    assert counted(done) == (60, 0)
    assert len(done.next_offsets) == 6
    assert archived(settings).total() == 65
