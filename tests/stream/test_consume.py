"""`consume`: counts are exact, and offsets are committed last, whatever ends the process."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from events.bootstrap import make_service
from events.config import Settings
from events.errors import InvalidEvent, InvalidInput, StoreUnavailable
from events.kafka.messages import Message, Record, decode, encode, parse_dead_letter
from events.service import EventService
from tests.stream.conftest import Topics
from tests.stream.runs import running, start
from tests.support.factories import many_events, stored_key
from tests.support.shell import Ran, Shell, free_port, until
from tests.support.tables import Tables, contents_of

Environment = Callable[..., Mapping[str, str]]
NOTHING = {
    "read": 0, "inserted": 0, "duplicates": 0, "voided": 0, "dead_letters": 0, "missing": 0
}  # fmt: skip
#: Nothing listens on port 1.
NO_STORE = {"DYNAMODB_ENDPOINT_URL": "http://127.0.0.1:1", "EVENTS_STORE_PATIENCE_SECONDS": "0.5"}


def consume(shell: Shell, *arguments: str) -> Ran:
    return call(shell, "consume", "--until-end", *arguments)


def replay(shell: Shell, *arguments: str) -> Ran:
    return call(shell, "replay", *arguments)


def call(shell: Shell, command: str, *arguments: str) -> Ran:
    port = str(free_port())
    return shell.call("-m", "events", command, "--json", "--port", port, *arguments)


def summary_of(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    summary: dict[str, Any] = json.loads(ran.out)
    del summary["seconds"]
    assert summary.pop("has_left")
    return summary


def test_messages_are_counted_once_however_often_sent_and_read(
    shell: Shell, tables: Tables, topics: Topics
) -> None:
    events = many_events(800, customers=20)
    topics.send_events([*events, *events[:200]])

    first = summary_of(consume(shell))
    again = summary_of(consume(shell))
    from_beginning = summary_of(consume(shell, "--from-beginning"))
    replayed = summary_of(replay(shell))

    assert first == {**NOTHING, "read": 1_000, "inserted": 800, "duplicates": 200}
    assert again == NOTHING
    assert from_beginning == replayed == {**NOTHING, "read": 1_000, "duplicates": 1_000}
    assert tables.contents() == contents_of(events)
    assert topics.are_committed()


def test_a_replay_starts_at_the_time_when_kafka_received_a_message(
    shell: Shell, topics: Topics
) -> None:
    topics.send_events(many_events(60, customers=10))
    assert summary_of(consume(shell))["inserted"] == 60
    last = max(message.timestamp or 0 for message in topics.read(topics.events))
    until(lambda: time.time() * 1000 > last + 1)
    since = datetime.fromtimestamp((last + 1) / 1000, UTC).isoformat()
    topics.send_events(many_events(40, customers=10, seed=1))

    replayed = summary_of(replay(shell, "--since", since))
    after_the_end = summary_of(replay(shell, "--since", "2100-01-01"))

    assert replayed == {**NOTHING, "read": 40, "inserted": 40}
    assert after_the_end == NOTHING


def test_salted_keys_spread_a_customer_over_partitions(
    shell: Shell, tables: Tables, topics: Topics
) -> None:
    events = many_events(300)
    for salt in range(2):  # each event twice, with different keys
        topics.send(
            [
                replace(encode(item, topics.events), key=b"customer-0#%d" % ((number + salt) % 8))
                for number, item in enumerate(events)
            ]
        )
    assert len(topics.ends()) > 1

    ran = summary_of(consume(shell))

    assert ran == {**NOTHING, "read": 600, "inserted": 300, "duplicates": 300}
    assert tables.contents() == contents_of(events)


def test_messages_deleted_before_they_were_counted_are_reported(
    shell: Shell, tables: Tables, topics: Topics
) -> None:
    first, later = many_events(6), many_events(10, seed=1)
    topics.send_events(first, partition=0)
    assert summary_of(consume(shell))["missing"] == 0
    topics.send_events(later, partition=0)
    topics.delete(0, before=9)

    ran = consume(shell)

    assert ran.code == 1
    summary = json.loads(ran.out)
    assert (summary["read"], summary["inserted"], summary["missing"]) == (7, 7, 3)
    assert "offsets 6 to 8 were deleted" in ran.err
    assert tables.contents() == contents_of([*first, *later[3:]])
    assert summary_of(consume(shell))["missing"] == 0


# --- kills and signals ----------------------------------------------------------------------------


def assert_nothing_is_committed_too_early(
    messages: list[Message], tables: Tables, topics: Topics
) -> None:
    """Every message before a committed offset is stored, or a dead letter."""
    committed = topics.committed()
    stored = set(tables.contents().events)
    buried = {
        (letter.origin.partition, letter.origin.offset)
        for letter in map(parse_dead_letter, topics.read(topics.dead_letters))
    }
    for message in messages:
        if message.offset >= committed.get(message.partition, 0):
            continue
        try:
            event = decode(message, max_bytes=1_000)
        except InvalidEvent:
            assert (message.partition, message.offset) in buried
        else:
            assert (event.customer_id, stored_key(event)) in stored


def test_killed_again_and_again_it_loses_and_repeats_nothing(
    shell: Shell,
    tables: Tables,
    topics: Topics,
    environment: Environment,
    kills: int,
    rng: random.Random,
) -> None:
    member = {**environment("one"), "EVENTS_WRITE_THREADS": "1"}
    bad = [Record(topics.events, b"bad", value) for value in (b"{", None, b"[]")]
    events = many_events(3_000, customers=40)
    topics.send(bad)
    topics.send_events([*events, *events[:200]])
    was_under_way = False
    for number in range(kills):
        more = many_events(200, customers=40, seed=number + 1)
        events += more
        topics.send_events(more)
        topics.send(bad)
        messages = topics.read(topics.events)
        run = start(shell, settings=member)
        until(lambda: "assigned partitions" in run.command.err)  # noqa: B023 - called at once
        time.sleep(rng.uniform(0, 0.8))
        run.command.signal(signal.SIGKILL)
        assert run.command.ended().code == -signal.SIGKILL
        was_under_way |= not topics.are_committed()
        if tables.are_there():
            assert_nothing_is_committed_too_early(messages, tables, topics)
    assert was_under_way, "a kill interrupted work"

    ran = start(shell, "--until-end", settings=member).command.ended()

    assert ran.code == 0, ran.err
    assert tables.contents() == contents_of(events)
    assert topics.are_committed()
    letters = map(parse_dead_letter, topics.read(topics.dead_letters))
    assert {(letter.origin.partition, letter.origin.offset) for letter in letters} == {
        (message.partition, message.offset)
        for message in topics.read(topics.events)
        if message.key == b"bad"
    }


def test_three_members_share_the_partitions_while_they_come_go_and_die(
    shell: Shell, tables: Tables, topics: Topics
) -> None:
    slow = {"EVENTS_WRITE_THREADS": "1"}
    events = many_events(3_000, customers=60)
    topics.send_events(events[:2_000])
    first = start(shell, settings=slow)
    until(lambda: first.counted() > 0)
    second, third = start(shell, settings=slow), start(shell, settings=slow)
    until(lambda: "assigned partitions" in second.command.err)
    until(lambda: "assigned partitions" in third.command.err)
    topics.send_events(events[2_000:2_500])
    second.command.signal(signal.SIGKILL)
    second.command.ended()
    first.command.signal(signal.SIGTERM)
    left = first.command.ended()
    topics.send_events(events[2_500:])
    until(topics.are_committed)
    third.command.signal(signal.SIGTERM)
    last = third.command.ended()

    assert (left.code, last.code) == (0, 0), left.err + last.err
    assert json.loads(left.out)["inserted"] > 0
    assert json.loads(last.out)["inserted"] > 0
    assert tables.contents() == contents_of(events)
    verified = shell.call("-m", "events", "verify")
    assert verified.code == 0, verified.out + verified.err


def test_a_member_takes_over_soon_after_all_others_were_killed(
    settings: Settings, service: EventService, shell: Shell, tables: Tables, topics: Topics
) -> None:
    events = many_events(900, customers=60)
    topics.send_events(events[:600])
    members = [start(shell) for _ in range(3)]
    for member in members:
        member.command.wait_for("assigned partitions")
    until(topics.are_committed)
    for member in members:
        member.command.signal(signal.SIGKILL)
    topics.send_events(events[600:])

    with running(settings, service, is_until_end=True) as run:
        until(lambda: "rebalances until" in run.problems().get("kafka", ""))
        # Twice the promise, and less than Kafka's default, under which it was 45 s.
        until(topics.are_committed, timeout_seconds=30)
        assert run.ended().has_left

    assert tables.contents() == contents_of(events)


def test_sigterm_finishes_commits_leaves_the_group_and_sums_up(
    shell: Shell, tables: Tables, topics: Topics
) -> None:
    events = many_events(3_000, customers=30)
    topics.send_events(events)
    run = start(shell)
    until(lambda: run.counted() > 0)
    run.command.signal(signal.SIGTERM)
    summary = summary_of(run.command.ended())

    assert summary["read"] == summary["inserted"] == tables.count()
    assert summary["read"] == sum(topics.committed().values())
    assert consume(shell).code == 0
    assert tables.contents() == contents_of(events)


def test_a_second_signal_ends_it_at_once(shell: Shell, topics: Topics) -> None:
    topics.send_events(many_events(10))
    run = start(shell, settings=NO_STORE)
    until(lambda: "none is lost" in run.command.err)
    run.command.signal(signal.SIGTERM)
    # It waits for the store for a few seconds.
    until(lambda: "stopping" in run.problems().get("consumer", ""))
    run.command.signal(signal.SIGTERM)
    assert run.command.ended().code == 130


# --- options --------------------------------------------------------------------------------------


def test_a_group_with_members_cannot_be_reset_to_the_beginning(
    settings: Settings, service: EventService, topics: Topics
) -> None:
    topics.send_events(many_events(10))
    with running(settings, service) as first:
        until(topics.are_committed)
        with (
            running(settings, service, since=0, is_until_end=True) as second,
            pytest.raises(InvalidInput, match="1 active members: stop them"),
        ):
            second.ended()
        assert first.stop().inserted == 10
    assert topics.are_committed()


def test_until_end_fails_if_the_store_accepts_nothing(settings: Settings, topics: Topics) -> None:
    topics.send_events(many_events(10))
    nowhere = settings.model_copy(update={"dynamodb_endpoint_url": "http://127.0.0.1:1"})
    with (
        closing(make_service(nowhere, patience_seconds=0.5)) as away,
        running(settings, away, is_until_end=True, patience_seconds=1) as run,
        pytest.raises(StoreUnavailable, match=r"^the store does not answer$"),
    ):
        run.ended()
    assert topics.committed() == {}
