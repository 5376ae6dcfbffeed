"""`python -m events consume`: what is in Kafka, counted."""

from __future__ import annotations

import argparse
import json
import logging
import os
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from events.bootstrap import load_settings, make_service
from events.cli import EXIT_OK, Commands, counted, port
from events.cli.output import write_result
from events.ingest.load import Interrupts
from events.kafka import check_installed
from events.telemetry import logs

if TYPE_CHECKING:
    from events.kafka.consume import Consumed

log = logging.getLogger(__name__)

_EXIT_MISSING = 1


def add_to(commands: Commands) -> None:
    consume = commands.add_parser(
        "consume",
        help="count what is in Kafka",
        description="Count the events of the topic EVENTS_KAFKA_TOPIC, each exactly once, as a "
        "member of the group EVENTS_KAFKA_GROUP, until SIGTERM or Ctrl-C. An offset is committed "
        "after everything before it is durable and counted, or acknowledged as a dead letter.",
        epilog="Exit code: 0 it ended when it was told to, or with --until-end at the end; 1 the "
        "same, but messages were deleted before they were counted; 2 it could not run; 130 it was "
        "ended by a second signal. Running it again is always safe.",
    )
    consume.set_defaults(command=_consume, is_service=True)
    consume.add_argument(
        "--until-end",
        action="store_true",
        help="stop at the ends that the partitions have now",
    )
    consume.add_argument(
        "--from-beginning",
        action="store_true",
        help="read the whole topic again first; what is counted already is a duplicate",
    )
    consume.add_argument(
        "--host",
        default="127.0.0.1",
        help="where /livez, /readyz and /metrics are (default: 127.0.0.1)",
    )
    consume.add_argument("--port", type=port, default=8801, help="default: 8801")
    consume.add_argument("--json", action="store_true", help="print the sum as one JSON object")


def _consume(options: argparse.Namespace) -> int:
    check_installed()
    from events.kafka import consume as consuming

    settings = load_settings()
    logs.configure(settings.events_log_format, settings.events_log_level)
    # Said at every level: somebody may wait for it.
    log.setLevel(logging.INFO)
    with Interrupts() as interrupts, closing(make_service(settings)) as service:
        consumed = consuming.consume(
            settings,
            service,
            address=(options.host, options.port),
            is_stopping=lambda: interrupts.is_stopping,
            is_until_end=options.until_end,
            is_from_beginning=options.from_beginning,
            on_address=lambda host, port: log.info(
                "its state is at http://%s:%s/readyz", host, port
            ),
        )
    write_result(json.dumps(asdict(consumed)) if options.json else _sum(consumed))
    code = _EXIT_MISSING if consumed.missing else EXIT_OK
    if not consumed.has_left:
        # All is said and closed but the client of Kafka, which would wait for its broker.
        os._exit(code)
    return code


def _sum(consumed: Consumed) -> str:
    return (
        f"{counted(consumed.read, 'message')} read in {consumed.seconds:.1f} s: "
        f"{consumed.inserted:,} inserted, {counted(consumed.duplicates, 'duplicate')}, "
        f"{consumed.voided:,} voided, {counted(consumed.dead_letters, 'dead letter')}"
        + (f", {consumed.missing:,} missing" if consumed.missing else "")
    )
