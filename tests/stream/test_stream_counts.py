"""The stream: what comes in time is counted once, what comes too late is said."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as f

from events.archive.archiver import Archiver
from events.bootstrap import make_store
from events.config import Settings
from events.domain.windows import hour_of_day
from jobs import recount, stream_counts
from jobs.lib.frames import micros_of
from jobs.lib.session import opened_session
from jobs.lib.windowedcounts import add_batch, make_table
from tests.stream.archives import hourly, produce, rows_of
from tests.support.factories import DAY, HOUR_ZERO, environment_of, event, many_events
from tests.support.shell import Shell, until

pytestmark = pytest.mark.usefixtures("spark", "job_environment")

#: Each is a start of Spark.
KILLS = 20

Lines = list[dict[str, Any]]
Job = Callable[..., tuple[int, Lines]]
Counts = Mapping[tuple[str, str, datetime], int]


@pytest.fixture
def job(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Job:
    """Runs the stream in this process to the end of the topic; gives code and batches."""

    def run(*arguments: str) -> tuple[int, Lines]:
        capsys.readouterr()
        checkpoint = str(tmp_path / "checkpoint")
        code = stream_counts.main(["--checkpoint", checkpoint, "--until-end", *arguments])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def shell(tmp_path: Path, settings: Settings) -> Iterator[Shell]:
    """Runs commands with the settings of this test."""
    shell = Shell(tmp_path / "shell", environment_of(settings))
    yield shell
    shell.end()


def counted(settings: Settings, table: str = "windowed_counts") -> Counts:
    return {
        (row["customer_id"], row["event_type"], row["hour"].astimezone(UTC)): row["count"]
        for row in rows_of(settings, table)
    }


def test_what_comes_in_time_is_counted_once_over_several_runs(settings: Settings, job: Job) -> None:
    events = many_events(200, customers=4, event_types=3, hours=20)
    ahead = event("ahead", timestamp=datetime(9999, 1, 1, tzinfo=UTC))
    produce(settings, [*events[:150], *events[:40], b"no event", ahead])
    code, lines = job("--most-a-batch", "100")
    assert code == 0
    assert counted(settings) == hourly(events[:150])
    assert lines[-1]["total"] == {
        "read": 192, "rejected": 1, "ahead": 1, "dropped_by_watermark": 0,
    }  # fmt: skip
    # A batch that is computed twice would say twice as many.
    assert lines[-2]["state_rows"] == 150

    produce(settings, [*events[100:], *events[:40]])
    assert job()[0] == 0
    assert counted(settings) == hourly(events)


def test_a_batch_that_comes_again_adds_nothing(settings: Settings) -> None:
    first, second = many_events(20), many_events(10, seed=1)
    with opened_session("tests", settings) as session:
        session.sql(f"CREATE NAMESPACE IF NOT EXISTS {settings.iceberg_catalog_name}.events")
        make_table(session, settings)
        batches = [
            session.createDataFrame(
                [(*each[:3], micros_of(each.timestamp)) for each in events],
                "customer_id STRING, event_type STRING, transaction_id STRING, micros BIGINT",
            ).withColumn("timestamp", f.timestamp_micros("micros"))
            for events in (first, second)
        ]
        for batch_id in (0, 0, 1, 1):
            add_batch(session, settings, batches[batch_id], batch_id)
    assert counted(settings) == hourly([*first, *second])


def test_too_late_is_counted_as_dropped_and_a_recount_restores_it(
    settings: Settings, job: Job
) -> None:
    old = many_events(30, start=HOUR_ZERO)
    new = many_events(30, seed=1, start=HOUR_ZERO + DAY * 10)
    late = many_events(7, seed=2, start=HOUR_ZERO)
    produce(settings, old)
    job()
    produce(settings, new)
    job()
    # Their hours are long past the watermark; so is a duplicate, which would not count anyway.
    in_time = event("in time", timestamp=HOUR_ZERO + DAY * 10)
    produce(settings, [*late, old[0], in_time])
    new.append(in_time)
    code, lines = job()
    assert code == 0
    assert lines[-1]["total"]["dropped_by_watermark"] == 8
    assert counted(settings) == hourly([*old, *new])

    Archiver(settings, is_until_end=True, patience_seconds=30).run()
    assert recount.main(["--end", "2021-03-05", "--restore-windowed"]) == 0
    assert counted(settings) == hourly([*old, *new, *late])
    # Twice is as once, and the stream goes on.
    assert recount.main(["--end", "2021-03-05", "--restore-windowed"]) == 0
    more = many_events(5, seed=3, start=HOUR_ZERO + DAY * 10)
    produce(settings, more)
    job()
    assert counted(settings) == hourly([*old, *new, *late, *more])


def test_what_it_remembers_is_bounded_by_the_watermark(settings: Settings, job: Job) -> None:
    rows = []
    for day in range(5):
        produce(settings, many_events(50, seed=day, start=HOUR_ZERO + DAY * day))
        code, lines = job()
        assert code == 0
        rows.append(max(line["state_rows"] for line in lines[:-1]))
    # The last batch, and the events of a watermark before it twice: once until they are too late,
    # once more until the state of them goes. One or two lie on the edge.
    assert max(rows) <= 3 * 50 + 2
    assert sum(counted(settings).values()) == 250


def test_the_api_on_windowed_counts_has_what_the_stream_and_a_recount_found(
    settings: Settings, job: Job
) -> None:
    events = many_events(60, customers=2, event_types=2, hours=30)
    late = many_events(5, seed=1, hours=3)
    new = event("new", timestamp=HOUR_ZERO + DAY * 10)
    produce(settings, [*events, *events[:20]])
    job("--to-dynamodb")
    produce(settings, [new])
    job("--to-dynamodb")
    assert served(settings) == hourly([*events, new])

    produce(settings, late)
    job("--to-dynamodb")
    assert served(settings) == hourly([*events, new])
    Archiver(settings, is_until_end=True, patience_seconds=30).run()
    assert recount.main(["--end", "2021-03-05", "--restore-windowed", "--to-dynamodb"]) == 0
    assert served(settings) == hourly([*events, new, *late])


def served(settings: Settings) -> Counts:
    """What the API's store has, of types; that the totals are their sums is seen to."""
    store = make_store(
        settings.model_copy(update={"events_counts": "windowed"}), patience_seconds=10
    )
    found: dict[tuple[str, str, datetime], int] = {}
    totals: Counter[tuple[str, datetime]] = Counter()
    for customer_id in store.customers(prefix="", after=None, limit=100):
        counters = (
            store.day_counts(customer_id, "0001-01-01", "9999-12-31", by_type=by_type)
            for by_type in (False, True)
        )
        for counter in chain.from_iterable(counters):
            for hour, count in counter.hours.items():
                at = hour_of_day(counter.day, hour)
                if counter.event_type is None:
                    totals[customer_id, at] += count
                else:
                    totals[customer_id, at] -= count
                    found[customer_id, counter.event_type, at] = count
    store.close()
    assert not +totals
    assert not -totals
    return found


def test_another_checkpoint_cannot_add_to_the_same_table(
    settings: Settings, job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    produce(settings, many_events(5))
    job()
    other = ["--checkpoint", str(tmp_path / "another"), "--until-end"]
    capsys.readouterr()
    assert stream_counts.main(other) == 2
    assert "another checkpoint" in capsys.readouterr().err
    assert sum(counted(settings).values()) == 5


# Spark starts anew for each of them, which takes a slow machine a quarter of a minute.
@pytest.mark.timeout(1_200)
def test_killed_at_any_moment_it_counts_every_event_once(shell: Shell, settings: Settings) -> None:
    rng = random.Random(11)
    events = many_events(1_500, customers=10, event_types=3, hours=20)
    produce(settings, [*events, *rng.sample(events, 300)])
    arguments = ["-m", "jobs.stream_counts", "--checkpoint", "checkpoint", "--most-a-batch", "75"]
    for _ in range(KILLS):
        command = shell.start(*arguments)
        batches = rng.randrange(2)
        until(
            lambda: len(command.out.splitlines()) >= batches or not command.is_running(),  # noqa: B023 - called at once
            timeout_seconds=150,
        )
        # Somewhere in the next batch, which may be any of its steps.
        time.sleep(rng.uniform(0, 1.5))
        command.end()
    ran = shell.start(*arguments, "--until-end").ended(timeout_seconds=200)
    assert ran.code == 0, ran.err
    assert counted(settings) == hourly(events)
