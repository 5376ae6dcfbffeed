"""Whatever ends a consumer, its group or its broker, and whenever: the counts are exact."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import pytest

from events.config import Settings
from events.errors import InvalidEvent, InvalidInput
from events.kafka.messages import Message, Record, decode, read_letter
from events.local.kafka import KafkaLocal
from events.service import EventService
from tests.stream.conftest import Topics
from tests.stream.runs import running
from tests.support.factories import many_events, stored_key
from tests.support.shell import Command, Shell, free_port, until
from tests.support.tables import Tables, contents_of

Environment = Callable[..., Mapping[str, str]]
OwnBroker = tuple[Settings, Callable[[], KafkaLocal]]
#: How often a consumer is killed in one run.
KILLS = 20


def start(shell: Shell, *arguments: str, settings: Mapping[str, str] | None = None) -> Command:
    port = str(free_port())
    return shell.start("-m", "events", "consume", "--port", port, *arguments, settings=settings)


def assert_nothing_is_committed_too_early(
    messages: list[Message], tables: Tables, topics: Topics
) -> None:
    """Every message before a committed offset is stored, or a dead letter."""
    committed = topics.committed()
    stored = set(tables.contents().events)
    buried = {
        (letter.origin.partition, letter.origin.offset)
        for letter in map(read_letter, topics.read(topics.dead_letters))
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


def test_killed_again_and_again_nothing_is_committed_too_early_and_the_end_is_exact(
    shell: Shell, tables: Tables, topics: Topics, environment: Environment
) -> None:
    rng = random.Random("kills")
    # A member with a name of its own takes its partitions back at once.
    member = {**environment("one"), "EVENTS_WRITE_THREADS": "1"}
    events = many_events(5_000, customers=40)
    bad = [Record(topics.events, b"bad", value) for value in (b"{", None, b"[]")]
    for first in range(0, 5_000, 500):
        topics.send_events(events[first : first + 500])
        topics.send(bad)
    topics.send_events(events[:200])
    messages = topics.read(topics.events)
    for _ in range(KILLS):
        command = start(shell, settings=member)
        before = tables.count()
        while tables.count() == before and command.is_running():
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.1))
        command.signal(signal.SIGKILL)
        assert command.ended().code == -signal.SIGKILL
        assert_nothing_is_committed_too_early(messages, tables, topics)
    assert 0 < tables.count() < len(events), "it was killed under way each time"

    ran = start(shell, "--until-end", "--json", settings=member).ended()

    assert ran.code == 0, ran.err
    assert tables.contents() == contents_of(events)
    assert topics.committed() == topics.ends()
    letters = map(read_letter, topics.read(topics.dead_letters))
    assert {(each.origin.partition, each.origin.offset) for each in letters} == {
        (each.partition, each.offset) for each in messages if each.key == b"bad"
    }


def test_three_members_share_the_partitions_while_they_come_go_and_die(
    shell: Shell, tables: Tables, topics: Topics
) -> None:
    slow = {"EVENTS_WRITE_THREADS": "1"}
    events = many_events(5_000, customers=60)
    topics.send_events(events[:4_000])
    first = start(shell, "--json", settings=slow)
    until(lambda: tables.count() > 300)
    second = start(shell, "--json", settings=slow)
    third = start(shell, "--json", settings=slow)
    until(lambda: "has the partitions" in second.err and "has the partitions" in third.err)
    until(lambda: tables.count() > 1_500)
    second.signal(signal.SIGKILL)
    second.ended()
    first.signal(signal.SIGTERM)
    left = first.ended()
    topics.send_events(events[4_000:])
    until(lambda: topics.committed() == topics.ends())
    third.signal(signal.SIGTERM)
    last = third.ended()

    assert (left.code, last.code) == (0, 0), left.err + last.err
    assert json.loads(left.out)["inserted"] > 0
    assert json.loads(last.out)["inserted"] > 0
    assert tables.contents() == contents_of(events)
    verified = shell.run("-m", "events", "verify")
    assert verified.code == 0, verified.out + verified.err


def test_told_to_stop_it_finishes_commits_and_says_what_it_did(
    shell: Shell, tables: Tables, topics: Topics
) -> None:
    events = many_events(3_000, customers=30)
    topics.send_events(events)
    command = start(shell, "--json")
    until(lambda: tables.count() > 100)
    command.signal(signal.SIGTERM)
    ran = command.ended()

    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["read"] == found["inserted"] == tables.count() == sum(topics.committed().values())
    # It left the group: the next has the partitions without waiting for a session to end.
    begin = time.monotonic()
    assert start(shell, "--until-end").ended().code == 0
    assert time.monotonic() - begin < 20
    assert tables.contents() == contents_of(events)


def test_a_second_signal_ends_it_at_once(shell: Shell, topics: Topics) -> None:
    topics.send_events(many_events(10))
    # Nothing answers there: what is under way is not finished soon.
    command = start(
        shell,
        settings={
            "DYNAMODB_ENDPOINT_URL": "http://127.0.0.1:1",
            "EVENTS_STORE_PATIENCE_SECONDS": "0.5",
        },
    )
    until(lambda: "nothing is lost" in command.err)
    command.signal(signal.SIGTERM)
    time.sleep(1)
    assert command.is_running()
    command.signal(signal.SIGTERM)
    assert command.ended(5).code == 130


def test_a_group_with_members_is_not_put_back_to_the_beginning(
    settings: Settings, service: EventService, topics: Topics
) -> None:
    topics.send_events(many_events(10))
    with running(settings, service) as first:
        until(lambda: topics.committed() == topics.ends())
        with (
            running(settings, service, is_from_beginning=True, is_until_end=True) as second,
            pytest.raises(InvalidInput, match="1 active members: stop them"),
        ):
            second.ended()
        assert first.stop().inserted == 10
    assert topics.committed() == topics.ends()


def test_a_job_that_the_store_takes_nothing_of_ends_with_an_error(
    shell: Shell, topics: Topics
) -> None:
    topics.send_events(many_events(10))
    ran = start(
        shell,
        "--until-end",
        settings={
            "DYNAMODB_ENDPOINT_URL": "http://127.0.0.1:1",
            "EVENTS_STORE_PATIENCE_SECONDS": "0.5",
        },
    ).ended()
    assert (ran.code, topics.committed()) == (2, {})
    assert ran.err.endswith("error: the store does not answer\n")


def test_a_broker_that_is_away_for_a_while_costs_nothing(
    own_broker: OwnBroker, service: EventService, tables: Tables
) -> None:
    own, start_broker = own_broker
    events = many_events(2_000, customers=20)
    with ExitStack() as opened:
        with start_broker():
            topics = Topics(own)
            topics.send_events(events[:1_000])
            run = opened.enter_context(running(own, service, batch_events=20))
            until(lambda: tables.count() > 100)
        until(lambda: "kafka" in run.problems())
        with start_broker():
            topics.send_events(events[1_000:])
            until(lambda: run.problems() == {})
            until(lambda: topics.committed() == topics.ends())
            assert run.stop().read >= 2_000
    assert tables.contents() == contents_of(events)


def test_it_waits_for_a_broker_that_is_not_there_yet(
    own_broker: OwnBroker, service: EventService, tables: Tables
) -> None:
    own, start_broker = own_broker
    with running(own, service) as run:
        until(lambda: "kafka" in run.problems())
        assert run.get("/livez")[0] == 200
        with start_broker():
            topics = Topics(own)
            topics.send_events(many_events(10))
            until(lambda: run.problems() == {})
            until(lambda: tables.count() == 10)
            assert run.stop().inserted == 10


def test_told_to_stop_while_the_broker_is_away_it_ends(
    own_broker: OwnBroker, shell: Shell, tables: Tables
) -> None:
    own, start_broker = own_broker
    with start_broker():
        Topics(own).send_events(many_events(10))
        away = {
            "EVENTS_KAFKA_BOOTSTRAP_SERVERS": own.events_kafka_bootstrap_servers,
            "EVENTS_KAFKA_PROPERTIES_FILE": own.events_kafka_properties_file,
        }
        command = start(shell, "--json", settings=away)
        until(lambda: tables.count() == 10)
    until(lambda: "Kafka does not answer" in command.err)
    command.signal(signal.SIGTERM)
    ran = command.ended(20)
    found = json.loads(ran.out)
    assert (ran.code, found["inserted"], found["has_left"]) == (0, 10, False)
