"""`python -m events archive`: copy every Kafka message to Iceberg, once."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from events.cli import EXIT_OK, command, counted
from events.cli.options import Json, UntilEnd
from events.cli.output import write_json, write_result
from events.errors import InvalidInput

if TYPE_CHECKING:
    from events.archive.archiver import Archived

AcceptGap = Annotated[
    bool, Option("--accept-gap", help="Continue after deleted messages; the table records which.")
]
MetricsPort = Annotated[
    int | None,
    Option(min=1, max=65_535, help="Serve /metrics, /livez and /readyz on this port of 127.0.0.1."),
]
CommitSeconds = Annotated[
    float,
    Option(min=0.1, max=86_400, metavar="N", help="Maximum seconds between two commits."),
]


@command(exit_when_stopped=EXIT_OK)
def archive(
    until_end: UntilEnd = False, accept_gap: AcceptGap = False, metrics_port: MetricsPort = None,
    commit_seconds: CommitSeconds = 60, json: Json = False,
) -> int:  # fmt: skip
    """
    Copy every Kafka message to Iceberg, once.

    Events go to the table events.raw, invalid messages to events.raw_rejected with the reason,
    until SIGTERM or Ctrl-C; what was read by then is committed. The offsets are in the tables, in
    the same commit, so a killed process loses nothing and writes nothing twice. Running two at a
    time is harmless but gains nothing.

    Exit code: 0 stopped, or at the end with --until-end; 2 could not run or could not continue; 130
    ended by a second signal.
    """
    # Arrow reads this at import. With its own allocator a process that commits forever takes a
    # fifth more memory (benchmarks/README.md, "Does it run for long?").
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from events.cli.service import start_logging
    from events.config import INGEST_PATIENCE_SECONDS
    from events.ingest.interrupts import Interrupts
    from events.server.status import served
    from events.telemetry.health import Health

    try:
        from events.archive.archiver import Archiver
        from events.archive.catalog import open_catalog
        from events.kafka.clients import Cluster
    except ImportError as exc:
        raise InvalidInput(
            f"{exc.name} is not installed: python -m pip install -r requirements-stream.txt"
        ) from exc

    settings = start_logging()
    archiver = Archiver(
        Cluster.of(settings),
        settings.events_kafka_topic,
        group=f"{settings.events_kafka_group}-archive",
        open_catalog=lambda: open_catalog(settings.iceberg_catalog_name, settings.iceberg_folder),
        commit_seconds=commit_seconds,
        is_until_end=until_end,
        is_gap_accepted=accept_gap,
        # A service waits for Kafka and the catalog; a run that has an end reports a failure.
        patience_seconds=INGEST_PATIENCE_SECONDS if until_end else None,
    )
    begin = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(Interrupts(on_stop=archiver.stop))
        if metrics_port:
            health = Health(
                is_alive=lambda: True,
                problems=lambda: {"archive": archiver.problem} if archiver.problem else {},
            )
            stack.enter_context(served("127.0.0.1", metrics_port, health))
        try:
            archiver.run()
        finally:
            _print(archiver.result, time.monotonic() - begin, is_json=json)
    return EXIT_OK


def _print(result: Archived, seconds: float, *, is_json: bool) -> None:
    if is_json:
        offsets = {str(partition): at for partition, at in sorted(result.next_offsets.items())}
        write_json(asdict(result) | {"next_offsets": offsets, "seconds": round(seconds, 3)})
        return
    write_result(
        f"{counted(result.archived, 'event')} archived, "
        f"{counted(result.rejected, 'message')} rejected, in {counted(result.commits, 'commit')}"
    )
