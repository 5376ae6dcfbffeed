"""Flink: its recount, and its stream through late events, restarts and `kill -9`."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from events.config import Settings
from events.models import Event
from events.service import EventService
from jobs import flink_counts
from jobs.flink.jvm import opened_flink
from tests.stream.archives import archive, hour_counts_of, hourly, produce, rows_of, served
from tests.support.factories import DAY, HOUR, HOUR_ZERO, event, many_events
from tests.support.shell import Command, Shell, until

pytestmark = pytest.mark.usefixtures("job_environment")

TABLE = "windowed_counts"
Job = Callable[..., tuple[int, Any]]
#: Checkpoints, and with them commits, often; the watermark moves at once.
QUICK = (
    *("--flink-option", "execution.checkpointing.interval=500 ms"),
    *("--flink-option", "pipeline.auto-watermark-interval=1 ms"),
)


@pytest.fixture(scope="module")
def jvm() -> Iterator[Any]:
    with opened_flink() as jvm:
        yield jvm


@pytest.fixture
def job(jvm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Job:
    """Runs the job with the shared Java runtime; returns its code, and its JSON or its error."""

    @contextmanager
    def shared() -> Iterator[Any]:
        yield jvm

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = flink_counts.main(arguments)
        captured = capsys.readouterr()
        return code, captured.err if captured.err else json.loads(captured.out.splitlines()[-1])

    monkeypatch.setattr(flink_counts, "opened_flink", shared)
    return run


@pytest.fixture
def stream(job: Job, tmp_path: Path) -> Job:
    """Runs the stream to the end of the topic; returns its code, and its numbers or its error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(*arguments: str, checkpoint: str = "checkpoint") -> tuple[int, Any]:
        folder = ("--checkpoint", str(tmp_path / checkpoint))
        code, output = job("stream", *folder, "--until-end", *QUICK, *arguments)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return code, output["total"] if code == 0 else output

    return run


def uncounted(settings: Settings) -> Counter[tuple[str, Event | None]]:
    """(reason, event) of the messages that the stream did not count."""
    rows = rows_of(settings, "uncounted")
    assert len({(row["kafka_partition"], row["kafka_offset"]) for row in rows}) == len(rows)
    return Counter(
        (
            row["reason"],
            Event(
                row["customer_id"],
                row["event_type"],
                row["transaction_id"],
                row["timestamp"].astimezone(UTC),
            )
            if row["timestamp"]
            else None,
        )
        for row in rows
    )


# --- batch ----------------------------------------------------------------------------------------


def test_the_recount_equals_an_independent_count_and_the_counters(
    settings: Settings, job: Job, service: EventService
) -> None:
    events = [
        *many_events(100, customers=4, event_types=3, hours=50),
        event("it's", customer_id="größe", event_type="日本"),
        event("t", timestamp=datetime(1, 1, 1, tzinfo=UTC)),
        event("t", timestamp=datetime(1500, 1, 1, 5, 30, tzinfo=UTC)),
        event("t", timestamp=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        event("t", timestamp=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        event("t", timestamp=HOUR_ZERO + HOUR - timedelta(microseconds=1)),
        event("t", timestamp=HOUR_ZERO + HOUR),
    ]
    produce(settings, [*events, *events[::3], b"no event"])
    archive(settings)
    service.ingest(events)
    service.void(events[:2], reason="a test")
    code, output = job("batch", "--compare", "--json")
    assert (code, output["events"], output["is_equal"], output["voided"]) == (
        *(0, len(events), True),
        2,
    )
    assert hour_counts_of(settings, "hourly_counts") == hourly(events)

    service.ingest([event("not archived", customer_id="größe")])
    late = event("late", timestamp=HOUR_ZERO + DAY)
    produce(settings, [late, event("late", timestamp=HOUR_ZERO)])
    archive(settings)
    days = ("--start", "2021-03-02", "--end", "2021-03-03")
    second = [
        one for one in [*events, late] if HOUR_ZERO + DAY <= one.timestamp < HOUR_ZERO + 2 * DAY
    ]
    assert job("batch", *days, "--json") == (0, {"events": len(second)})
    assert hour_counts_of(settings, "hourly_counts") == hourly([*events, late])
    code, output = job("batch", "--compare", "--json")
    assert code == 1
    assert {one["customer_id"] for one in output["differences"]} == {"acme", "größe"}


def test_the_recount_needs_an_archive(job: Job) -> None:
    code, output = job("batch")
    assert code == 2
    assert "archive first" in output


# --- stream ---------------------------------------------------------------------------------------


def test_the_stream_needs_a_topic(stream: Job, settings: Settings, tmp_path: Path) -> None:
    code, error = stream()
    assert code == 2
    assert f"cannot use the topic {settings.events_kafka_topic}" in error
    assert not (tmp_path / "checkpoint").exists()


def test_every_message_is_counted_once_or_listed_with_its_reason(
    settings: Settings, stream: Job
) -> None:
    old = many_events(60, customers=9, event_types=3)
    new = many_events(60, seed=1, customers=9, start=HOUR_ZERO + 10 * DAY)
    ahead = event("ahead", timestamp=datetime(9999, 1, 1, tzinfo=UTC))
    produce(settings, [*old, *old[:20], b"{", None, ahead])
    code, numbers = stream("--to-store")
    assert (code, hour_counts_of(settings, TABLE)) == (0, {})
    assert numbers["state_rows"] == len(old)

    produce(settings, new)
    code, numbers = stream("--to-store")
    assert code == 0, numbers
    assert numbers["state_rows"] == len(new), "closed hours leave the state"
    assert hour_counts_of(settings, TABLE) == served(settings) == hourly(old)

    # After this restart no partition has told its time yet: the stream must remember it.
    late = many_events(7, seed=2, customers=9)
    in_time = event("in time", timestamp=HOUR_ZERO + 10 * DAY)
    produce(settings, [*late, old[0], in_time, *new[:5]])
    code, numbers = stream("--to-store", "--drain")
    assert code == 0, numbers
    assert (numbers["state_rows"], numbers["late"]) == (0, 8)
    right = hourly([*old, *new, in_time])
    assert hour_counts_of(settings, TABLE) == served(settings) == right
    listed = uncounted(settings)
    assert Counter({key: n for key, n in listed.items() if key[0] == "late"}) == Counter(
        ("late", one) for one in [*late, old[0]]
    )
    assert listed["ahead", ahead] == 1
    assert sum(n for (reason, _), n in listed.items() if reason not in ("late", "ahead")) == 2
    assert len(rows_of(settings, TABLE)) == len(right), "one row an hour"

    code, output = stream(checkpoint="another")
    assert code == 2
    assert "another checkpoint" in output


def fates(settings: Settings, sent: Iterable[Event]) -> tuple[list[Event], list[Event]]:
    """The events that must be counted, and those of which every message was late."""
    late = uncounted(settings)
    messages = Counter(sent)
    lost = [one for one, number in messages.items() if late["late", one] == number]
    return [one for one in messages if one not in set(lost)], lost


@pytest.mark.timeout(1_800)
def test_killed_at_any_moment_it_loses_and_repeats_nothing(
    shell: Shell,
    settings: Settings,
    stream: Job,
    tmp_path: Path,
    kills: int,
    rng: random.Random,
) -> None:
    # Each kill costs a start of Flink.
    kills = max(1, kills // 3)
    sent: list[Event] = []

    def send(hour: int) -> None:
        """New events of an hour, some of those before again, and some that are late by now."""
        events = many_events(60, seed=hour, customers=9, hours=1, start=HOUR_ZERO + hour * HOUR)
        start = HOUR_ZERO + max(0, hour - 6) * HOUR
        events += many_events(9, seed=1_000 + hour, customers=9, hours=3, start=start)
        events += rng.sample(sent, min(20, len(sent)))
        rng.shuffle(events)
        produce(settings, events)
        sent.extend(events)

    checkpoint, watermark = tmp_path / "checkpoint", ("--watermark-seconds", "3600")
    program: list[str | Path] = ["-m", "jobs.flink_counts", "stream", "--checkpoint", checkpoint]
    arguments = [*program, *watermark, *QUICK]
    send(hour := 0)
    for _ in range(kills):
        command = shell.start(*arguments)
        until(lambda: messages_read(command) > 0 or not command.is_running(), timeout_seconds=300)  # noqa: B023 - called at once
        for _ in range(rng.randrange(1, 5)):
            send(hour := hour + 1)
            time.sleep(rng.uniform(0, 0.7))  # somewhere in a checkpoint or a commit
        command.end()
    send(hour := hour + 1)

    # Partitions that are silent from here on do not hold the watermark.
    command = shell.start(*arguments)
    until(lambda: messages_read(command) > 0 or not command.is_running(), timeout_seconds=300)

    def trickle() -> Iterator[Event]:
        """One partition's events, until the hours of all partitions are closed."""
        for number in range(5_000):
            if number % 100 == 0 and (HOUR_ZERO + hour * HOUR) in closed_hours(settings):
                return
            sent.append(event(f"trickle-{number}", timestamp=HOUR_ZERO + (hour + 9) * HOUR))
            time.sleep(0.01)
            yield sent[-1]
        raise AssertionError("idle partitions hold the watermark")

    produce(settings, trickle())
    late = many_events(9, seed=2_000, customers=9, hours=1)
    produce(settings, late)
    sent.extend(late)
    command.signal(signal.SIGTERM)
    assert command.ended(timeout_seconds=300).code == 0, command.err
    assert list(checkpoint.glob("savepoint-*/_metadata"))
    code, output = stream(*watermark, "--drain")
    assert code == 0, output
    counted, lost = fates(settings, sent)
    assert hour_counts_of(settings, TABLE) == hourly(counted)
    assert len(rows_of(settings, TABLE)) == len(hourly(counted))
    assert set(late) <= set(lost)


def closed_hours(settings: Settings) -> set[datetime]:
    return {hour for _, _, hour in hour_counts_of(settings, TABLE)}


def messages_read(command: Command) -> int:
    lines = [line for line in command.out.splitlines() if line.startswith('{"read"')]
    return int(json.loads(lines[-1])["read"]) if lines else 0
