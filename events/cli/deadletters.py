"""`python -m events dead-letter`: messages that could not be counted, listed and sent back."""

from __future__ import annotations

import argparse
import base64
import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from events.bootstrap import load_settings
from events.cli import EXIT_OK, Commands, counted, say, shown
from events.cli.output import standard_output, write_result
from events.domain.timestamps import format_timestamp
from events.ingest.load import EXIT_INTERRUPTED, Interrupts
from events.kafka import check_installed

if TYPE_CHECKING:
    from events.kafka.messages import Letter

#: Of a value on a terminal, in characters.
_LONGEST_SHOWN = 80


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "dead-letter",
        help="messages of Kafka that could not be counted",
        description="Messages that `consume` could make no event of, or that the store refuses: "
        "they are in the topic EVENTS_KAFKA_TOPIC.dead-letter as they were, with the reason.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="what there is", description="List what there is.")
    listing.set_defaults(command=_list, is_service=False)
    listing.add_argument(
        "--reason", metavar="TEXT", default="", help="only those whose reason holds this"
    )
    listing.add_argument("--limit", type=_limit, metavar="N", help="at most so many")
    listing.add_argument("--json", action="store_true", help="one JSON object a line, all of it")

    replaying = actions.add_parser(
        "replay",
        help="send them back",
        description="Send letters back to the topic they came from, with value, key and headers "
        "as they were. The letters stay; the next replay begins after those that were sent.",
        epilog="Exit code: 0 all are sent, 2 it could not, 130 it was interrupted. Running it "
        "again is safe: an event that is sent twice is counted once.",
    )
    replaying.set_defaults(command=_replay, is_service=False)
    which = replaying.add_mutually_exclusive_group()
    which.add_argument(
        "--offset",
        action="append",
        type=_at,
        default=[],
        metavar="PARTITION:OFFSET",
        help="only this one, also if it was sent before; may be given several times",
    )
    which.add_argument("--again", action="store_true", help="also those that were sent before")
    replaying.add_argument("--json", action="store_true", help="print the sum as one JSON object")


def _list(options: argparse.Namespace) -> int:
    check_installed()
    from events.kafka import deadletters

    found = (each for each in deadletters.letters(load_settings()) if options.reason in each.reason)
    number = 0
    with standard_output() as output:
        for letter in islice(found, options.limit):
            number += 1
            line = json.dumps(_as_json(letter)) if options.json else _as_line(letter)
            output.write_text(f"{line}\n")
    if not options.json:
        say(counted(number, "dead letter"))
    return EXIT_OK


def _replay(options: argparse.Namespace) -> int:
    check_installed()
    from events.kafka import deadletters

    with Interrupts() as interrupts:
        replayed = deadletters.replay(
            load_settings(),
            only=options.offset,
            is_again=options.again,
            is_stopping=lambda: interrupts.is_stopping,
        )
    if options.json:
        write_result(json.dumps(asdict(replayed)))
    else:
        write_result(f"{counted(replayed.sent, 'message')} sent back")
        if replayed.unsendable:
            say(
                f"{counted(replayed.unsendable, 'letter')} cannot be sent: they are not whole, "
                "longer than the topic takes, or from elsewhere"
            )
    return EXIT_INTERRUPTED if interrupts.is_stopping else EXIT_OK


def _as_line(letter: Letter) -> str:
    origin = letter.origin
    value = "(no value)" if origin.value is None else origin.value.decode("utf-8", "replace")
    if len(value) > _LONGEST_SHOWN:
        value = value[:_LONGEST_SHOWN] + "…"
    reason = f"{letter.field}: {letter.reason}" if letter.field else letter.reason
    return shown(
        f"{letter.partition}:{letter.offset}  {_time(letter.timestamp)}  "
        f"from {origin.topic or '?'} {origin.partition}:{origin.offset}  {reason}  {value}"
    )


def _as_json(letter: Letter) -> dict[str, Any]:
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
    """Text where it is UTF-8."""
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
    except (OverflowError, ValueError, OSError):  # a producer may say any
        return None


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 on")
    return int(text)


def _at(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,18})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: give a partition and an offset, such as 0:12")
    return int(found[1]), int(found[2])
