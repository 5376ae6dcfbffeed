"""Tiered storage: the whole history of a topic is counted, though the broker has dropped it."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from events.bootstrap import make_service
from events.config import Settings
from events.kafka.clients import Cluster, ensure_topics
from events.kafka.messages import encode
from events.kafka.tiering import tier_topic
from events.local import kafka
from tests.stream.archives import archive, archived
from tests.stream.conftest import Topics
from tests.stream.runs import running
from tests.support.factories import many_events
from tests.support.shell import Shell, free_port, until
from tests.support.tables import Tables, contents_of

#: After each event, so that 600 fill several segments; the smallest segment has 1 MiB.
SPACES = b" " * 5_000


def test_the_whole_history_is_counted_from_tiered_storage(
    settings: Settings, shell: Shell, tables: Tables, tmp_path: Path
) -> None:
    port, data = free_port(), tmp_path / "broker"
    own = settings.model_copy(
        update={
            "events_kafka_bootstrap_servers": f"127.0.0.1:{port}",
            "events_kafka_properties_file": "",
        }
    )
    environment = own.environment()
    events = many_events(600, customers=20)
    with ExitStack() as stack:
        broker = stack.enter_context(kafka.start(port=port, data_folder=data, is_tiered=True))
        cluster, topic = Cluster.of(own), own.events_kafka_topic
        ensure_topics(cluster, topic, partitions=1)
        tier_topic(cluster, topic)
        topics = Topics(own)
        sent = [
            replace(record, value=(record.value or b"") + SPACES)
            for record in (encode(event, topic) for event in (*events, *events[:100]))
        ]
        uncompressed: dict[str, Any] = {"compression.type": "none"}
        topics.send(sent, **uncompressed)
        until(lambda: len(segments(data, topic)) == 1)
        assert len(segments(kafka.tier_of(data), topic)) >= 2, "the rest is in tiered storage"
        os.kill(broker.pid, signal.SIGKILL)
        psutil.Process(broker.pid).wait(60)

        stack.enter_context(kafka.start(port=port, data_folder=data, is_tiered=True))
        with (
            closing(make_service(own)) as service,
            running(own, service, is_until_end=True) as run,
        ):
            assert run.ended().inserted == len(events)
        assert tables.contents() == contents_of(events)
        assert archive(own).archived == len(events) + 100
        assert archived(own) == Counter([*events, *events[:100]])
        rebuilt = {**environment, "EVENTS_DATABASE_URL": "sqlite:///rebuilt.db"}
        assert replayed(shell, rebuilt) == (len(events), 100)
        assert replayed(shell, rebuilt) == (0, len(events) + 100)
        ran = shell.call("-m", "events", "verify", settings=rebuilt)
        assert (ran.code, f"{len(events):,} events" in ran.out) == (0, True), ran.out


def segments(folder: Path, topic: str) -> list[Path]:
    """The segments of the topic's only partition in a folder."""
    return list(folder.glob(f"**/{topic}-0*/*.log"))


def replayed(shell: Shell, settings: dict[str, str]) -> tuple[int, int]:
    """Replay the topic; returns how many events were inserted, and how many were duplicates."""
    port = str(free_port())
    ran = shell.call("-m", "events", "replay", "--json", "--port", port, settings=settings)
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    return result["inserted"], result["duplicates"]
