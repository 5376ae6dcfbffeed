"""`python -m events consume`: count the events that are in Kafka."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Annotated

from typer import Option

from events.cli import EXIT_DIFFERENT, EXIT_OK, command, counted
from events.cli.options import Host, Json, Port, UntilEnd
from events.cli.output import write_json, write_result

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
    return count(
        is_until_end=until_end, since=0 if from_beginning else None, host=host, port=port, json=json
    )


def count(*, is_until_end: bool, since: int | None, host: str, port: int, json: bool) -> int:
    """Run the consumer and print its result; returns the exit code."""
    from events.bootstrap import make_service
    from events.cli.service import start_logging
    from events.config import INGEST_PATIENCE_SECONDS
    from events.ingest.interrupts import Interrupts
    from events.kafka import check_installed

    check_installed()
    from events.kafka import consume as kafka_consume
    from events.server.status import served

    settings = start_logging()
    with Interrupts() as interrupts, closing(make_service(settings)) as service:
        consumed = kafka_consume.consume(
            settings,
            service,
            is_stopping=lambda: interrupts.is_stopping,
            serve=partial(served, host, port),
            patience_seconds=INGEST_PATIENCE_SECONDS,
            is_until_end=is_until_end,
            since=since,
        )
    if json:
        write_json(asdict(consumed))
    else:
        missing = f", {consumed.missing:,} missing" if consumed.missing else ""
        write_result(
            f"{counted(consumed.read, 'message')} read in {consumed.seconds:.1f} s: "
            f"{consumed.inserted:,} inserted, {counted(consumed.duplicates, 'duplicate')}, "
            f"{consumed.voided:,} voided, {counted(consumed.dead_letters, 'dead letter')}{missing}"
        )
    code = EXIT_DIFFERENT if consumed.missing else EXIT_OK
    if not consumed.has_left:
        # Everything is printed and closed except the Kafka client, which would wait for its broker.
        os._exit(code)
    return code
