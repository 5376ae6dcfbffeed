"""`python -m events dead-letter`: Kafka messages that could not be counted."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from events import cli
from events.cli import EXIT_OK, check_at_most_one, command, counted, printable, say
from events.cli.options import Json
from events.cli.output import encode, write_json, write_pieces, write_result
from events.domain.timestamps import format_timestamp
from events.errors import InvalidInput

if TYPE_CHECKING:
    from events.kafka.messages import DeadLetter

#: Characters of a message's value that `list` shows.
_VALUE_CHARACTERS = 80

Reason = Annotated[
    str, Option(metavar="TEXT", help="Only messages whose reason contains this text.")
]
Limit = Annotated[int | None, Option(min=1, metavar="N", help="At most this many.")]
Offset = Annotated[
    list[str] | None,
    Option(
        metavar="PARTITION:OFFSET",
        help="Only this dead letter, even if it was sent before; repeatable.",
    ),
]
Again = Annotated[bool, Option("--again", help="Also dead letters that were sent before.")]

app = cli.make_app("""
    List dead letters, or send them back.

    A dead letter is a Kafka message that could not be counted, because it is invalid or the store
    refuses it. `consume` writes it to the topic EVENTS_KAFKA_TOPIC.dead-letter, unchanged, with
    the reason.
    """)


@app.command("list")
@command()
def list_letters(reason: Reason = "", limit: Limit = None, json: Json = False) -> int:
    """List dead letters."""
    from events.bootstrap import load_settings
    from events.kafka import check_installed

    check_installed()
    from events.kafka.clients import Cluster
    from events.kafka.deadletters import read_dead_letters

    settings = load_settings()
    letters = read_dead_letters(
        Cluster.of(settings), settings.events_kafka_topic, group=settings.events_kafka_group
    )
    shown = islice((letter for letter in letters if reason in letter.reason), limit)
    number = 0

    def lines() -> Iterator[bytes]:
        nonlocal number
        for number, letter in enumerate(shown, 1):  # noqa: B007 - counted for the last line
            yield encode((dumps(_as_json(letter)) if json else _as_line(letter)) + "\n")

    write_pieces(lines())
    if not json:
        say(counted(number, "dead letter"))
    return EXIT_OK


@app.command()
@command()
def replay(offset: Offset = None, again: Again = False, json: Json = False) -> int:
    """
    Send dead letters back to the topic they came from.

    Value, key and headers are those of the original message. The dead letters stay; the next
    replay starts after the ones that were sent.

    Exit code: 0 all are sent; 2 could not run; 130 interrupted. Running it again is safe: an
    event that is sent twice is counted once.
    """
    from events.bootstrap import load_settings
    from events.ingest.interrupts import Interrupts
    from events.kafka import check_installed

    check_at_most_one(offset=offset, again=again)
    offsets = [_parse_offset(text) for text in offset or ()]
    check_installed()
    from events.config import INGEST_PATIENCE_SECONDS
    from events.kafka import deadletters
    from events.kafka.clients import Cluster

    settings = load_settings()
    with Interrupts() as interrupts:
        replayed = deadletters.replay(
            Cluster.of(settings),
            settings.events_kafka_topic,
            group=settings.events_kafka_group,
            patience_seconds=INGEST_PATIENCE_SECONDS,
            only=offsets,
            is_again=again,
            is_stopping=lambda: interrupts.is_stopping,
        )
    if json:
        write_json(asdict(replayed))
    else:
        write_result(f"{counted(replayed.sent, 'message')} sent back")
        if replayed.unsendable:
            say(
                f"{counted(replayed.unsendable, 'dead letter')} cannot be sent back: incomplete, "
                "larger than the topic allows, or from another topic"
            )
    return cli.EXIT_INTERRUPTED if interrupts.is_stopping else EXIT_OK


def _as_line(letter: DeadLetter) -> str:
    origin = letter.origin
    value = "(no value)" if origin.value is None else origin.value.decode("utf-8", "replace")
    value = value[:_VALUE_CHARACTERS] + "…" * (len(value) > _VALUE_CHARACTERS)
    reason = f"{letter.field}: {letter.reason}" if letter.field else letter.reason
    return printable(
        f"{letter.partition}:{letter.offset}  {_time(letter.timestamp)}  "
        f"from {origin.topic or '?'} {origin.partition}:{origin.offset}  {reason}  {value}"
    )


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    origin = letter.origin
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "at": _time(letter.timestamp),
        "reason": letter.reason,
        "field": letter.field,
        "origin": {
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
            "at": _time(origin.timestamp),
        },
        "key": _bytes(origin.key),
        "value": _bytes(origin.value),
        "headers": [[name, _bytes(value)] for name, value in origin.headers],
    }


def _bytes(value: bytes | None) -> str | dict[str, str] | None:
    """Text if the bytes are UTF-8, otherwise base64."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    try:
        return format_timestamp(datetime.fromtimestamp(milliseconds / 1000, UTC))
    except (OverflowError, ValueError, OSError):  # producers set this number freely
        return None


def _parse_offset(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,18})", text)
    if not match:
        raise InvalidInput(f"--offset {text!r}: give a partition and an offset, such as 0:12")
    return int(match[1]), int(match[2])
