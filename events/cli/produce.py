"""`python -m events produce`: send the events of files to Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from events.cli import command, options
from events.cli.inputs import Destination, Load
from events.cli.load import load_files
from events.models import Outcome

if TYPE_CHECKING:
    from events.config import Settings
    from events.ingest.interrupts import Interrupts
    from events.ingest.load import Sink


@command()
def produce(
    files: options.Files, dry_run: options.DryRun = False, json: options.Json = False,
    rejects: options.Rejects = None, columns: options.Columns = None,
    delimiter: options.Delimiter = None, timestamp_format: options.TimestampFormat = "iso",
    assume_timezone: options.AssumeTimezone = None, ambiguous_hour: options.AmbiguousHour = None,
    patience: options.Patience = 60.0,
) -> int:  # fmt: skip
    """
    Send the events of files to Kafka.

    Events go to the topic EVENTS_KAFKA_TOPIC. An event is accepted once all in-sync replicas have
    it; `consume` counts it.

    Exit code: 0 all rows are in Kafka; 1 the same, but some rows were rejected; 2 the run could
    not start or could not finish; 130 interrupted. After 2 and 130 run it again: an event that is
    in Kafka twice is counted once.
    """
    from events.ingest.reading import make_reading
    from events.kafka import check_installed

    if not dry_run:
        check_installed()
    labels = {Outcome.ACCEPTED: "accepted"}
    open_kafka = partial(_open_kafka, patience_seconds=patience)
    destination = Destination("in Kafka", labels, open_kafka, _how_to_start)
    reading = make_reading(
        columns=columns,
        delimiter=delimiter,
        timestamp_format=timestamp_format,
        assume_timezone=assume_timezone,
        ambiguous_hour=ambiguous_hour,
    )
    return load_files(Load(files, dry_run, json, rejects, reading, destination))


@contextmanager
def _open_kafka(
    settings: Settings, interrupts: Interrupts, *, patience_seconds: float
) -> Iterator[Sink]:
    from events.bootstrap import SECONDS_TO_FIND_THE_STORE
    from events.kafka.clients import Cluster, ensure_topics
    from events.kafka.producer import KafkaSink

    cluster, topic = Cluster.of(settings), settings.events_kafka_topic
    with interrupts.waiting():
        ensure_topics(cluster, topic, timeout_seconds=SECONDS_TO_FIND_THE_STORE)
    sink = KafkaSink(
        cluster,
        topic,
        patience_seconds=patience_seconds,
        is_waiting_for_room=True,
    )
    with closing(sink):
        yield sink


def _how_to_start(settings: Settings) -> str:
    if settings.events_kafka_bootstrap_servers != "localhost:9092":
        return ""
    return ". To start one on this machine: python -m events local --kafka"
