"""The streaming counts: events in time are counted once, late events are reported as dropped."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from events.config import Settings
from events.models import Event
from jobs import recount, stream_counts
from jobs.lib.hourcounts import micros_of
from jobs.lib.session import opened_session
from jobs.lib.windowedcounts import add_batch, make_table
from jobs.stream_counts import BatchCounter
from tests.stream.archives import archive, hour_counts_of, hourly, produce, served
from tests.support.factories import DAY, HOUR_ZERO, event, many_events
from tests.support.shell import Shell, until

pytestmark = pytest.mark.usefixtures("spark", "job_environment")

TABLE = "windowed_counts"
Job = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def job(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Job:
    """Runs the stream in this process to the end of the topic; returns code and JSON lines."""

    def run(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        capsys.readouterr()
        checkpoint = str(tmp_path / "checkpoint")
        code = stream_counts.main(["--checkpoint", checkpoint, "--until-end", *arguments])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_events_in_time_are_counted_once_over_several_runs(
    settings: Settings, job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = many_events(200, customers=4, event_types=3, hours=20)
    ahead = event("ahead", timestamp=datetime(9999, 1, 1, tzinfo=UTC))
    produce(settings, [*events[:150], *events[:40], b"{", ahead])
    code, lines = job("--most-a-batch", "100")
    assert code == 0
    assert hour_counts_of(settings, TABLE) == hourly(events[:150])
    assert lines[-1]["total"] == {
        "read": 192, "rejected": 1, "ahead": 1, "dropped_by_watermark": 0,
    }  # fmt: skip
    assert lines[-2]["state_rows"] == 150, "twice as many if a batch were computed twice"

    produce(settings, [*events[100:], *events[:40]])
    assert job()[0] == 0
    assert hour_counts_of(settings, TABLE) == hourly(events)

    # The same messages with another checkpoint would be counted again.
    other = ["--checkpoint", str(tmp_path / "another"), "--until-end"]
    assert stream_counts.main(other) == 2
    assert "another checkpoint" in capsys.readouterr().err
    assert hour_counts_of(settings, TABLE) == hourly(events)


def test_late_events_are_dropped_and_served_after_a_recount(
    settings: Settings, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = many_events(60, customers=2, event_types=2, hours=30)
    new = many_events(30, seed=1, start=HOUR_ZERO + DAY * 10)
    produce(settings, [*old, *old[:20], *new])
    job("--to-store")
    assert served(settings) == hourly([*old, *new])

    # These hours are before the watermark; so is a duplicate, which would not count anyway.
    late = many_events(7, seed=2, hours=3)
    in_time = event("in time", timestamp=HOUR_ZERO + DAY * 10)
    produce(settings, [*late, old[0], in_time])
    new.append(in_time)
    code, lines = job("--to-store")
    assert code == 0
    assert lines[-1]["total"]["dropped_by_watermark"] == 8
    assert hour_counts_of(settings, TABLE) == served(settings) == hourly([*old, *new])

    archive(settings)
    restore = ("--end", "2021-03-05", "--restore-windowed", "--to-store")
    assert recount.main(restore) == 0
    restored = hourly([*old, *new, *late])
    assert hour_counts_of(settings, TABLE) == served(settings) == restored

    # A second restore changes nothing; it writes to another store.
    url = f"sqlite:///{tmp_path}/events.db"
    monkeypatch.setenv("EVENTS_DATABASE_URL", url)
    assert recount.main(restore) == 0
    sql = settings.model_copy(update={"events_database_url": url})
    assert served(sql) == hourly([*old, *late])
    assert hour_counts_of(settings, TABLE) == restored

    more = many_events(5, seed=3, start=HOUR_ZERO + DAY * 10)
    produce(settings, more)
    job()
    assert hour_counts_of(settings, TABLE) == hourly([*old, *new, *late, *more])


def test_the_state_is_bounded_by_the_watermark(settings: Settings, job: Job) -> None:
    # All of one customer, and so in one partition: each batch is a day.
    for day in range(4):
        produce(settings, many_events(50, seed=day, start=HOUR_ZERO + DAY * day))
    code, lines = job("--most-a-batch", "50")
    assert code == 0
    assert [line["read"] for line in lines[:4]] == [50] * 4
    # Two days of state before the last batch: one until its events are too late, and one until
    # Spark removes it. One or two events lie on the edge.
    assert max(line["state_rows"] for line in lines[:-1]) <= 3 * 50 + 2
    assert sum(hour_counts_of(settings, TABLE).values()) == 200


# --- cut off at any step --------------------------------------------------------------------------


def frame_of(session: SparkSession, events: Sequence[Event]) -> DataFrame:
    rows = [(*one[:3], micros_of(one.timestamp)) for one in events]
    columns = "customer_id STRING, event_type STRING, transaction_id STRING, micros BIGINT"
    return session.createDataFrame(rows, columns).withColumn(
        "timestamp", f.timestamp_micros("micros")
    )


class CutOff(Exception):
    """The process dies here."""


def test_a_batch_that_is_repeated_after_any_step_counts_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the commit, after it, and after the counts are published: Spark repeats the batch."""
    # The first batch adds rows to the table, the second one changes them.
    batches = [many_events(20, seed=seed, customers=3) for seed in range(2)]
    steps = (("after commit", ""), ("before commit", "after publish", ""))
    published = []

    def publish(*_: object) -> None:
        published.append(1)
        if step == "after publish":
            raise CutOff

    def add(*arguments: Any) -> DataFrame:
        if step == "before commit":
            raise CutOff
        counts = add_batch(*arguments)
        if step == "after commit":
            raise CutOff
        return counts

    monkeypatch.setattr(stream_counts, "add_batch", add)
    monkeypatch.setattr(stream_counts, "publish", publish)
    with opened_session("tests", settings) as session:
        session.sql(f"CREATE NAMESPACE IF NOT EXISTS {settings.iceberg_catalog_name}.events")
        make_table(session, settings)
        session.sparkContext.setLocalProperty("sql.streaming.queryId", "the stream")
        for batch_id, events in enumerate(batches):
            frame = frame_of(session, events)
            for step in steps[batch_id]:
                counter = BatchCounter(settings, is_published=True)
                if step:
                    with pytest.raises(CutOff):
                        counter(frame, batch_id)
                else:
                    counter(frame, batch_id)
        session.sparkContext.setLocalProperty("sql.streaming.queryId", None)  # type: ignore[arg-type] # removes it
    assert hour_counts_of(settings, TABLE) == hourly([one for batch in batches for one in batch])
    assert len(published) >= len(batches)


@pytest.mark.timeout(1_800)
def test_killed_at_any_moment_it_counts_every_event_once(
    shell: Shell, settings: Settings, job: Job, tmp_path: Path, kills: int, rng: random.Random
) -> None:
    # Each kill costs a start of Spark, a quarter of a minute; the steps of a batch are cut off one
    # by one above.
    kills = max(1, kills // 3)
    events: list[Event] = []

    def send() -> None:
        """Two batches: new events, and some of all events again."""
        events.extend(many_events(500, seed=len(events), customers=10, event_types=3, hours=20))
        produce(settings, [*events[-500:], *rng.sample(events, 100)])

    checkpoint = tmp_path / "checkpoint"
    program: list[str | Path] = ["-m", "jobs.stream_counts", "--most-a-batch", "300"]
    arguments = [*program, "--checkpoint", checkpoint]
    for _ in range(kills):
        send()
        command = shell.start(*arguments)
        begun = checkpoint / "offsets" / str(next_batch(checkpoint) + rng.randrange(2))
        until(lambda: begun.exists() or not command.is_running(), timeout_seconds=300)  # noqa: B023 - called at once
        time.sleep(rng.uniform(0, 3))  # somewhere in this batch
        command.end()
    send()
    code, _ = job()
    assert code == 0
    assert hour_counts_of(settings, TABLE) == hourly(events)


def next_batch(checkpoint: Path) -> int:
    """The number of the batch that the next run begins or repeats."""
    return max((int(file.name) + 1 for file in (checkpoint / "commits").glob("[0-9]*")), default=0)
