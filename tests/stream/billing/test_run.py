"""`examples.billing run`: every event on the topic is billed once, whatever happens."""

from __future__ import annotations

import random
import signal
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from confluent_kafka import OFFSET_END, TopicPartition

from events.config import Settings
from events.kafka.clients import Cluster, ensure_topics, make_admin
from examples.billing.ledger import Ledger
from tests.stream.archives import PARTITIONS, produce_in_transaction
from tests.stream.billing.conftest import (
    BILLING,
    INVALID,
    bill,
    billed,
    change,
    counted,
    kill_when_billed,
    messages_committed,
    on_both,
    repeated,
    rows,
    send,
    summary,
    units_so_far,
    until_end,
)
from tests.support.factories import many_events
from tests.support.shell import Shell, until

# --- what is on the bus is billed once ------------------------------------------------------------


@on_both
def test_duplicates_are_billed_once_and_invalid_messages_reported(
    shell: Shell, settings: Settings
) -> None:
    events = many_events(300, customers=5, hours=48)
    send(settings, repeated(events, seed=1), others=[*INVALID, None])

    ran = shell.call(*until_end(settings), "--batch-size", "50")

    assert (ran.code, ran.out) == (0, summary(messages=406, billed=300, repeated=100, bad=6))
    assert ran.err.count("invalid message: partition ") == 6
    assert "timestamp: 'yesterday' is not a date and time" in ran.err
    assert billed(shell) == counted(events)
    assert rows(shell, "SELECT count(*) FROM billing_bad_messages") == [(6,)]


def test_a_second_run_continues_and_a_replay_bills_nothing_twice(
    shell: Shell, settings: Settings
) -> None:
    first, later = many_events(200, customers=4), many_events(50, customers=4, seed=1)
    send(settings, first, others=INVALID)
    assert shell.call(*until_end(settings)).code == 0
    send(settings, [*later, *first[:20]])

    ran = shell.call(*until_end(settings))
    again = shell.call(*until_end(settings), "--from-start")

    assert (ran.code, ran.out) == (0, summary(messages=70, billed=50, repeated=20))
    assert (again.code, again.out) == (0, summary(messages=275, billed=0, repeated=270, bad=5))
    assert billed(shell) == counted([*first, *later])
    assert rows(shell, "SELECT count(*) FROM billing_bad_messages") == [(5,)]


@on_both
def test_a_run_killed_at_any_moment_leaves_the_bill_exact(
    shell: Shell, settings: Settings, kills: int
) -> None:
    events = many_events(3_000, customers=20, event_types=3, hours=72)
    sent = repeated(events, seed=2)
    send(settings, sent, others=INVALID)
    rng = random.Random(3)

    for moment in sorted(rng.sample(range(200, 2_500), kills)):
        command = shell.start(*until_end(settings), "--batch-size", "20")
        kill_when_billed(shell, command, units=moment)
        assert units_so_far(shell) < len(events), "it was killed before its end"
        ((seen,),) = rows(shell, "SELECT count(*) FROM billing_seen")
        assert seen == units_so_far(shell), "every seen event is billed"
    ran = shell.call(*until_end(settings))

    assert ran.code == 0
    assert billed(shell) == counted(events)
    ((read,),) = rows(shell, "SELECT sum(next_offset) FROM billing_offsets")
    assert read == len(sent) + len(INVALID)


def test_a_continuous_run_bills_new_messages_and_stops_on_sigterm(
    shell: Shell, settings: Settings
) -> None:
    command = shell.start(*bill(settings))
    events = many_events(30)
    send(settings, events)
    until(lambda: units_so_far(shell) == 30)
    # The process commits after it has counted what it billed, so that it prints all of it.
    until(lambda: messages_committed(settings) == 30)

    command.signal(signal.SIGTERM)
    ran = command.ended()

    assert (ran.code, ran.out, ran.err) == (
        0,
        summary(messages=30, billed=30, repeated=0),
        "stopped\n",
    )
    assert billed(shell) == counted(events)


@on_both
def test_two_processes_share_the_topic_until_one_is_killed(
    shell: Shell, settings: Settings
) -> None:
    events = many_events(500, customers=30)
    killed, left = [shell.start(*bill(settings, "--member", name)) for name in ("a", "b")]
    send(settings, repeated(events[:400], seed=4))
    until(lambda: units_so_far(shell) == 400)

    killed.signal(signal.SIGKILL)
    send(settings, events[400:])
    # Kafka's default session would last 45 s.
    until(lambda: units_so_far(shell) == len(events), timeout_seconds=30)
    left.signal(signal.SIGTERM)

    assert left.ended().code == 0
    assert billed(shell) == counted(events)


@on_both
def test_processes_that_start_together_all_find_the_tables(shell: Shell) -> None:
    together = Barrier(4)

    def create_tables(_: int) -> None:
        ledger = Ledger(shell.settings["BILLING_DATABASE_URL"])
        together.wait(timeout=60)
        ledger.create_tables()
        ledger.close()

    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            list(threads.map(create_tables, range(4)))
            for name in ("seen", "usage", "offsets", "bad_messages"):
                change(shell, f"DROP TABLE billing_{name}")


def test_messages_deleted_before_they_were_read_stop_the_run(
    shell: Shell, settings: Settings
) -> None:
    events = many_events(40)
    send(settings, events)
    assert shell.call(*until_end(settings)).code == 0
    # As after a deletion, or if the topic was recreated: the offset does not exist.
    change(shell, "UPDATE billing_offsets SET next_offset = 1000")

    ran = shell.call(*until_end(settings))

    assert (ran.code, ran.out) == (2, summary(messages=0, billed=0, repeated=0))
    assert "does not exist: it was deleted before it was read" in ran.err
    assert shell.call(*until_end(settings), "--from-start").code == 0
    assert billed(shell) == counted(events)


def test_a_deleted_transaction_marker_does_not_stop_the_run(
    shell: Shell, settings: Settings
) -> None:
    produce_in_transaction(settings, many_events(40))
    assert shell.call(*until_end(settings)).code == 0
    admin = make_admin(Cluster.of(settings))
    ends = [
        TopicPartition(settings.events_kafka_topic, partition, OFFSET_END)
        for partition in range(PARTITIONS)
    ]
    for future in admin.delete_records(ends).values():
        future.result()

    ran = shell.call(*until_end(settings))

    assert (ran.code, ran.out) == (0, summary(messages=0, billed=0, repeated=0)), ran.err


def test_a_member_that_changes_its_topic_does_not_mix_the_two(
    shell: Shell, settings: Settings
) -> None:
    send(settings, many_events(20))
    # The group must remember the member until its next run.
    properties = shell.write("kafka.properties", "session.timeout.ms=300000\n")
    kafka = {"EVENTS_KAFKA_PROPERTIES_FILE": str(properties)}
    assert shell.call(*until_end(settings), settings=kafka).code == 0
    other = settings.model_copy(update={"events_kafka_topic": f"{settings.events_kafka_topic}.2"})
    ensure_topics(Cluster.of(settings), other.events_kafka_topic)
    send(other, many_events(30, seed=1))
    environment = {**kafka, "EVENTS_KAFKA_TOPIC": other.events_kafka_topic}

    same = shell.call(*until_end(settings), settings=environment)
    another = shell.call(
        *BILLING, "run", "--until-end", "--group", "another-group", settings=environment
    )

    assert (same.code, same.out) == (2, summary(messages=0, billed=0, repeated=0))
    assert f"still knows billing-1 as a reader of {settings.events_kafka_topic}" in same.err
    assert (another.code, another.out) == (0, summary(messages=30, billed=30, repeated=0))


def test_a_missing_topic_is_an_error(shell: Shell, settings: Settings) -> None:
    ran = shell.call(*until_end(settings), settings={"EVENTS_KAFKA_TOPIC": "nothing-here"})
    assert (ran.code, ran.err) == (2, "error: topic not found: nothing-here\n")
