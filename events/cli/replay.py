"""`python -m events replay`: count the messages that are in Kafka again."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from events.cli import EXIT_OK, command
from events.cli.consume import count
from events.cli.options import Host, Json, Port
from events.domain.timestamps import parse_instant

Since = Annotated[
    str | None,
    Option(
        metavar="TIME",
        help="From the first message that Kafka received at this time or later (default: from "
        "the first message that exists).",
    ),
]


@command(exit_when_stopped=EXIT_OK)
def replay(
    since: Since = None, host: Host = "127.0.0.1", port: Port = 8801, json: Json = False
) -> int:
    """
    Count the messages of a Kafka topic again, up to its current end.

    Resets the group EVENTS_KAFKA_GROUP and counts as consume does. Events that are already stored
    are duplicates and change nothing; into empty tables it counts everything from the beginning.
    The group must not have members: stop them, or name a new group.

    Exit code: 0 at the end; 1 the same, but messages were deleted before they were counted; 2 could
    not run; 130 ended by a second signal. Running it again is always safe.
    """
    at = None if since is None else parse_instant(since, "--since")
    # At least 1: 0 is the first message that exists.
    milliseconds = 0 if at is None else max(int(at.timestamp() * 1000), 1)
    return count(is_until_end=True, since=milliseconds, host=host, port=port, json=json)
