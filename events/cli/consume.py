"""`python -m events consume`: count the events that are in Kafka."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from json import dumps
from typing import TYPE_CHECKING, Annotated

from typer import Option

from events.cli import EXIT_DIFFERENT, EXIT_OK, command, counted
from events.cli.options import Host, Json, Port, UntilEnd
from events.cli.output import write_result

if TYPE_CHECKING:
    from events.kafka.consume import Consumed
    from events.telemetry.health import Health

log = logging.getLogger(__name__)


FromBeginning = Annotated[
    bool,
    Option(
        "--from-beginning",
        help="First read the whole topic again; events already counted are duplicates.",
    ),
]


@command(exit_when_stopped=EXIT_OK)
def consume(
    until_end: UntilEnd = False, from_beginning: FromBeginning = False, host: Host = "127.0.0.1",
    port: Port = 8801, json: Json = False,
) -> int:  # fmt: skip
    """
    Count the events of a Kafka topic, each exactly once.

    Reads the topic EVENTS_KAFKA_TOPIC as a member of the group EVENTS_KAFKA_GROUP until SIGTERM
    or Ctrl-C. An offset is committed once every message before it is stored and counted, or is
    in the dead-letter topic.

    Exit code: 0 stopped, or at the end with --until-end; 1 the same, but messages were deleted
    before they were counted; 2 could not run; 130 ended by a second signal. Running it again is
    always safe.
    """
    from events.bootstrap import load_settings, make_service
    from events.ingest.interrupts import Interrupts
    from events.kafka import check_installed
    from events.telemetry import logs

    check_installed()
    from events.config import INGEST_PATIENCE_SECONDS
    from events.kafka import consume as kafka_consume
    from events.server.status import served

    @contextmanager
    def serve(health: Health) -> Iterator[None]:
        with served(host, port, health) as actual_port:
            log.info("probes are at http://%s:%s/readyz", host, actual_port)
            yield

    settings = load_settings()
    logs.configure(settings.events_log_format, settings.events_log_level)
    log.setLevel(logging.INFO)  # always log the address: a supervisor may wait for this line
    with Interrupts() as interrupts, closing(make_service(settings)) as service:
        consumed = kafka_consume.consume(
            settings,
            service,
            is_stopping=lambda: interrupts.is_stopping,
            serve=serve,
            patience_seconds=INGEST_PATIENCE_SECONDS,
            is_until_end=until_end,
            is_from_beginning=from_beginning,
        )
    write_result(dumps(asdict(consumed)) if json else _summary(consumed))
    code = EXIT_DIFFERENT if consumed.missing else EXIT_OK
    if not consumed.has_left:
        # Everything is printed and closed except the Kafka client, which would wait for its broker.
        os._exit(code)
    return code


def _summary(consumed: Consumed) -> str:
    return (
        f"{counted(consumed.read, 'message')} read in {consumed.seconds:.1f} s: "
        f"{consumed.inserted:,} inserted, {counted(consumed.duplicates, 'duplicate')}, "
        f"{consumed.voided:,} voided, {counted(consumed.dead_letters, 'dead letter')}"
        + (f", {consumed.missing:,} missing" if consumed.missing else "")
    )
