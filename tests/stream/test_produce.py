"""`python -m events produce`: each row of a file is in Kafka once, or in the rejects file."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
from typing import Any

from events.kafka.messages import encode
from tests.stream.conftest import Topics
from tests.support.factories import many_events
from tests.support.shell import HEADER, Ran, Shell, until

EVENTS = many_events(2_500, customers=50)
ROWS = "".join(
    f"{event.customer_id},{event.event_type},{event.transaction_id},{event.timestamp.isoformat()}\n"
    for event in EVENTS
)


def summary_of(ran: Ran) -> dict[str, Any]:
    """The JSON summary without its times."""
    summary: dict[str, Any] = json.loads(ran.out)
    del summary["seconds"], summary["rows_per_second"]
    return summary


def test_events_are_keyed_by_customer_and_bad_rows_are_kept(shell: Shell, topics: Topics) -> None:
    file = shell.write("events.csv.gz", gzip.compress((HEADER + ROWS + "a,b,c,d\n").encode()))
    ran = shell.call("-m", "events", "produce", file.name, "--json")
    assert ran.code == 1, ran.err
    assert summary_of(ran) == {
        "file": file.name,
        "is_dry_run": False,
        "is_complete": True,
        "read": 2_501,
        "accepted": 2_500,
        "rejected": 1,
        "rejects_file": "events.csv.gz.rejects.csv",
        "ignored_columns": [],
    }
    assert shell.read("events.csv.gz.rejects.csv").splitlines()[1].startswith("2502,")
    sent = topics.read(topics.events)
    assert sorted((one.key or b"", one.value or b"") for one in sent) == sorted(
        (record.key or b"", record.value or b"")
        for record in (encode(event, topics.events) for event in EVENTS)
    )
    partition_of = {message.key: message.partition for message in sent}
    assert all(partition_of[one.key] == one.partition for one in sent), "a key has one partition"
    assert set(partition_of.values()) == {0, 1, 2}


def test_standard_input_with_a_summary_as_text(shell: Shell, topics: Topics) -> None:
    ran = shell.call("-m", "events", "produce", "-", stdin=ROWS.encode())
    assert ran.code == 0, ran.err
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["accepted", "2,500"],
        ["rejected", "0"],
    ]
    assert len(topics.read(topics.events)) == 2_500


def test_a_dry_run_sends_nothing_and_needs_no_broker(shell: Shell, topics: Topics) -> None:
    shell.write("events.csv", HEADER + ROWS)
    settings = {"EVENTS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    ran = shell.call("-m", "events", "produce", "events.csv", "--dry-run", settings=settings)
    assert (ran.code, topics.read(topics.events)) == (0, [])


def test_a_broker_that_does_not_answer_is_an_error(shell: Shell) -> None:
    shell.write("events.csv", HEADER + ROWS)
    settings = {"EVENTS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    ran = shell.call("-m", "events", "produce", "events.csv", settings=settings)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")


def test_an_interrupted_run_reports_what_kafka_has(shell: Shell, topics: Topics) -> None:
    command = shell.start("-m", "events", "produce", "-", "--json", stdin=subprocess.PIPE)
    assert command.process.stdin is not None
    command.process.stdin.write(ROWS.encode())
    command.process.stdin.flush()
    until(lambda: sum(topics.ends().values()) >= 1_000)
    command.signal(signal.SIGTERM)
    ran = command.ended()
    command.process.stdin.close()
    assert ran.code == 130
    assert summary_of(ran)["accepted"] == sum(topics.ends().values())
