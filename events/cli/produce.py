"""`python -m events produce`: the events of a CSV file to Kafka."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from events.bootstrap import SECONDS_TO_FIND_THE_STORE
from events.cli import Commands
from events.cli import load as fromfile
from events.config import INGEST_PATIENCE_SECONDS, Settings
from events.ingest.load import Interrupts, Sink
from events.kafka import check_installed
from events.models import Outcome


@dataclass(slots=True)
class SendResult:
    """
    What became of the rows of a file that was sent.

    After a whole run `read` is the sum of the other two; after one that was stopped it may be more.
    """

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    seconds: float = 0.0

    def add(self, outcomes: Mapping[Outcome | None, int]) -> None:
        """Count receipts; None is one that is not known."""
        self.accepted += outcomes.get(Outcome.ACCEPTED, 0)

    def kinds(self) -> list[tuple[str, int]]:
        """What became of those that were taken."""
        return [("accepted", self.accepted)]


def add_to(commands: Commands) -> None:
    produce = commands.add_parser(
        "produce",
        help="send the events of a CSV file to Kafka",
        description="Send the events of a CSV file to the topic EVENTS_KAFKA_TOPIC. An event is "
        "accepted once all replicas in sync have it; `consume` counts it.",
        epilog="Exit code: 0 all rows are in Kafka, 1 the same but some rows were rejected, 2 the "
        "run could not start or not finish, 130 it was interrupted. After 2 and 130 run it again: "
        "what is in Kafka twice is counted once.",
    )
    produce.set_defaults(command=_produce, is_service=False)
    fromfile.add_arguments(produce)


def _produce(options: argparse.Namespace) -> int:
    if not options.dry_run:
        check_installed()
    destination = fromfile.Destination(_open_kafka, "in Kafka", _how_to_start)
    return fromfile.run(options, SendResult(), destination)


@contextmanager
def _open_kafka(settings: Settings, interrupts: Interrupts) -> Iterator[Sink]:
    from events.kafka.clients import ensure_topics
    from events.kafka.producer import KafkaSink

    # A broker that nobody started is said soon, not after the whole patience.
    with interrupts.waiting():
        ensure_topics(
            settings, settings.events_kafka_topic, timeout_seconds=SECONDS_TO_FIND_THE_STORE
        )
    patience_seconds = INGEST_PATIENCE_SECONDS
    sink = KafkaSink(settings, patience_seconds=patience_seconds, is_waiting_for_room=True)
    with closing(sink):
        yield sink


def _how_to_start(settings: Settings) -> str:
    if settings.events_kafka_bootstrap_servers != "localhost:9092":
        return ""
    return ". Start one on this machine with: python -m events local --kafka"
