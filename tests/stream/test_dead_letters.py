"""`python -m events dead-letter`: dead letters are listed, and replayed once."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from events.errors import InvalidEvent
from events.kafka.clients import make_admin
from events.kafka.messages import Message, Record, dead_letter, encode, shorten
from tests.stream.conftest import Topics
from tests.support.factories import event
from tests.support.shell import Ran, Shell

NO_JSON = InvalidEvent(None, "is not valid JSON")
NO_FIELD = InvalidEvent("timestamp", "is missing")
HEADERS = (("trace", b"1"), ("reason", b"mine"))


def run(shell: Shell, *arguments: str) -> Ran:
    return shell.call("-m", "events", "dead-letter", *arguments)


@pytest.fixture
def origins(topics: Topics) -> list[Message]:
    """Messages whose dead letters are in partition 0, in this order, before three others."""
    origins = [
        Message(topics.events, 2, 7, 1_614_556_800_000, b"acme", b"{", HEADERS),
        Message(topics.events, 1, 9, None, None, b"\xff\x1b" + b"x" * 200),
        Message(topics.events, 0, 3, 0, b"acme", None),
        Message(topics.events, 0, 4, 0, b"acme", encode(event(), "").value),
    ]
    reasons = [NO_JSON, NO_JSON, NO_FIELD, NO_FIELD]
    records = [
        dead_letter(origin, topics.dead_letters, reason)
        for origin, reason in zip(origins, reasons, strict=True)
    ]
    foreign = Record(topics.dead_letters, b"k", b"v")
    not_whole = shorten(dead_letter(origins[0], topics.dead_letters, NO_JSON))
    assert not_whole is not None
    elsewhere = dead_letter(Message("others", 0, 0), topics.dead_letters, NO_JSON)
    topics.send([*records, foreign, not_whole, elsewhere], partition=0)
    return origins


def replayed(topics: Topics) -> list[Record]:
    return as_records(topics.read(topics.events))


def as_records(messages: list[Message]) -> list[Record]:
    records = [Record(one.topic, one.key, one.value, one.headers) for one in messages]
    return sorted(records, key=repr)


def json_of(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    document: dict[str, Any] = json.loads(ran.out)
    return document


@pytest.mark.usefixtures("origins")
def test_dead_letters_are_listed_with_reason_origin_and_value(shell: Shell, topics: Topics) -> None:
    lines = run(shell, "list").out.splitlines()
    assert len(lines) == 7
    short = "\ufffd\\x1b" + "x" * 78 + "…"
    assert lines[0].startswith("0:0  ")
    assert lines[0].endswith(f"  from {topics.events} 2:7  is not valid JSON  {{")
    assert lines[1].endswith(f"  from {topics.events} 1:9  is not valid JSON  {short}")
    assert lines[2].endswith(f"  from {topics.events} 0:3  timestamp: is missing  (no value)")
    assert lines[4].endswith("  from ? -1:-1    v")

    assert len(run(shell, "list", "--reason", "missing").out.splitlines()) == 2
    assert run(shell, "list", "--reason", "missing", "--limit", "1").out.splitlines() == lines[2:3]
    first = json.loads(run(shell, "list", "--json", "--limit", "1").out)
    del first["at"]
    assert first == {
        "partition": 0,
        "offset": 0,
        "reason": "is not valid JSON",
        "field": None,
        "origin": {
            "topic": topics.events,
            "partition": 2,
            "offset": 7,
            "at": "2021-03-01T00:00:00.000000Z",
        },
        "key": "acme",
        "value": "{",
        "headers": [["trace", "1"], ["reason", "mine"]],
    }


def test_dead_letters_are_replayed_as_they_were_and_once(
    shell: Shell, topics: Topics, origins: list[Message]
) -> None:
    assert json_of(run(shell, "replay", "--json")) == {"sent": 4, "unsendable": 3}
    assert replayed(topics) == as_records(origins)

    assert json_of(run(shell, "replay", "--json")) == {"sent": 0, "unsendable": 0}
    assert json_of(run(shell, "replay", "--json", "--offset", "0:3")) == {
        "sent": 1,
        "unsendable": 0,
    }
    assert replayed(topics) == as_records([*origins, origins[3]])
    topics.send([dead_letter(origins[0], topics.dead_letters, NO_JSON)])
    assert json_of(run(shell, "replay", "--json")) == {"sent": 1, "unsendable": 0}
    assert json_of(run(shell, "replay", "--json", "--again")) == {"sent": 5, "unsendable": 3}


@pytest.mark.usefixtures("origins")
def test_an_unknown_dead_letter_is_an_error(shell: Shell, topics: Topics) -> None:
    for offset in ("0:7", "9:0"):
        ran = run(shell, "replay", "--offset", offset)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == (
            f"error: --offset {offset}: not found in the topic {topics.dead_letters}\n"
        )
    assert replayed(topics) == []


def test_a_dead_letter_of_more_than_a_megabyte_is_replayed(shell: Shell, topics: Topics) -> None:
    long = Message(topics.events, 0, 0, None, b"acme", random.Random(0).randbytes(1_010_000))
    letter = dead_letter(long, topics.dead_letters, NO_JSON)
    topics.send([letter], **{"message.max.bytes": 2_000_000})
    assert json_of(run(shell, "replay", "--json")) == {"sent": 1, "unsendable": 0}
    assert replayed(topics) == as_records([long])


def test_a_dead_letter_that_is_too_long_by_now_does_not_block_the_others(
    shell: Shell, topics: Topics, origins: list[Message]
) -> None:
    long = Message(topics.events, 0, 0, None, b"acme", random.Random(0).randbytes(10_000))
    topics.send([dead_letter(long, topics.dead_letters, NO_JSON)], partition=0)
    topics.send([dead_letter(origins[0], topics.dead_letters, NO_JSON)], partition=0)
    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        topics.events,
        incremental_configs=[
            ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin = make_admin(topics.cluster)
    (future,) = admin.incremental_alter_configs([resource]).values()
    future.result()
    assert json_of(run(shell, "replay", "--json")) == {"sent": 5, "unsendable": 4}
    assert replayed(topics) == as_records([*origins, origins[0]])
    assert json_of(run(shell, "replay", "--json")) == {"sent": 0, "unsendable": 0}
