"""`python -m events produce`: send the events of a CSV file to Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from events.cli import Json, command
from events.cli.load import (
    AssumeTimezone,
    DryRun,
    File,
    LenientTimestamps,
    Options,
    Patience,
    Rejects,
    load_file,
)
from events.models import Outcome

if TYPE_CHECKING:
    from events.config import Settings
    from events.ingest.interrupts import Interrupts
    from events.ingest.load import Sink


@command()
def produce(
    file: File,
    dry_run: DryRun = False,
    json: Json = False,
    rejects: Rejects = None,
    assume_timezone: AssumeTimezone = None,
    lenient_timestamps: LenientTimestamps = False,
    patience: Patience = None,
) -> int:
    """
    Send the events of a CSV file to Kafka.

    Events go to the topic EVENTS_KAFKA_TOPIC. An event is accepted once all in-sync replicas have
    it; `consume` counts it.

    Exit code: 0 all rows are in Kafka; 1 the same, but some rows were rejected; 2 the run could
    not start or not finish; 130 interrupted. After 2 and 130 run it again: an event that is in
    Kafka twice is counted once.
    """
    from events.kafka import check_installed

    if not dry_run:
        check_installed()
    options = Options(file, dry_run, json, rejects, assume_timezone, lenient_timestamps)
    return load_file(options, _Kafka(patience))


class _Kafka:
    done = "in Kafka"
    labels: Mapping[Outcome, str] = {Outcome.ACCEPTED: "accepted"}

    def __init__(self, patience_seconds: float | None) -> None:
        self._patience_seconds = patience_seconds

    @contextmanager
    def open(self, settings: Settings, interrupts: Interrupts) -> Iterator[Sink]:
        from events.bootstrap import SECONDS_TO_FIND_THE_STORE
        from events.config import INGEST_PATIENCE_SECONDS
        from events.kafka.clients import Cluster, ensure_topics
        from events.kafka.producer import KafkaSink

        cluster, topic = Cluster.of(settings), settings.events_kafka_topic
        with interrupts.waiting():
            ensure_topics(cluster, topic, timeout_seconds=SECONDS_TO_FIND_THE_STORE)
        patience_seconds = self._patience_seconds
        if patience_seconds is None:
            patience_seconds = INGEST_PATIENCE_SECONDS
        sink = KafkaSink(
            cluster,
            topic,
            patience_seconds=patience_seconds,
            max_bytes=settings.events_kafka_max_bytes,
            is_waiting_for_room=True,
        )
        with closing(sink):
            yield sink

    def how_to_start(self, settings: Settings) -> str:
        if settings.events_kafka_bootstrap_servers != "localhost:9092":
            return ""
        return ". To start one on this machine: python -m events local --kafka"
