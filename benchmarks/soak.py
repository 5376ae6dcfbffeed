"""A long run at a steady rate: memory stays flat, the lag does not grow, counts are right."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import bus
from benchmarks.bus import Command
from benchmarks.feeder import BAD_EVERY, DUPLICATES, Expected, Feeder, Hours
from benchmarks.measuring import CHECKOUT, database, environment_of, print_table
from benchmarks.samples import (
    Bound,
    Sample,
    equal_bound,
    lag_bound,
    memory_bound,
    metrics,
    quarters,
    resident_bytes,
)
from events.archive.catalog import open_catalog
from events.archive.tables import NAMESPACE, RAW, REJECTED
from events.bootstrap import make_service
from events.config import Settings
from events.domain.windows import ALL_TIME
from events.kafka.clients import Cluster, dead_letter_topic, ensure_topics
from events.models import BucketQuery

MESSAGES, RATE = 1_000_000, 1_200
_QUICK_MESSAGES, _QUICK_RATE = 6_000, 300
_PROCESSES = ("consume", "archive")
_EVERY_SECONDS = 5.0
_START_SECONDS = 60.0
#: Everything must be counted and archived so long after the last message.
_CATCH_UP_SECONDS = 600.0
_STOP_SECONDS = 60.0
_CUSTOMERS = 1_000
#: One message in so many is sent at the start. `consume` then holds as many as it may, so that the
#: memory for them is allocated early and does not look like growth.
_BACKLOG = 50


def run(*, is_quick: bool, messages: int | None = None, rate: int | None = None) -> bool:
    """Returns whether all bounds hold."""
    messages = messages or (_QUICK_MESSAGES if is_quick else MESSAGES)
    rate = rate or (_QUICK_RATE if is_quick else RATE)
    with (
        database() as server,
        tempfile.TemporaryDirectory(prefix="events-soak-") as name,
        bus.broker(Path(name)) as broker,
    ):
        settings = bus.stream_settings(server, broker, Path(name))
        topic = settings.events_kafka_topic
        ensure_topics(Cluster.of(settings), topic, dead_letter_topic(topic))
        with _processes(settings) as pair:
            feeder = Feeder(settings, messages=messages, rate=rate, backlog=messages // _BACKLOG)
            samples, caught_up = _watch(pair, feeder, 0.5 if is_quick else _EVERY_SECONDS)
            codes = {name: pair[name].stop() for name in _PROCESSES}
        bounds = _bounds(settings, samples, feeder, rate, codes)
    _print(samples, bounds, feeder, caught_up)
    return all(bound.is_kept for bound in bounds)


# --- the run --------------------------------------------------------------------------------------


@contextmanager
def _processes(settings: Settings) -> Iterator[Mapping[str, Command]]:
    pair: dict[str, Command] = {}
    try:
        pair["consume"] = Command(settings, "consume", "--port")
        pair["archive"] = Command(settings, "archive", "--metrics-port")
        deadline = time.monotonic() + _START_SECONDS
        while not all(command.is_answering() for command in pair.values()):
            if time.monotonic() > deadline:
                raise RuntimeError("the processes did not start in time")
            time.sleep(0.1)
        yield pair
    finally:
        for command in pair.values():
            command.stop()


def _watch(
    pair: Mapping[str, Command], feeder: Feeder, every: float
) -> tuple[Sequence[Sample], float]:
    """Samples while messages were sent, and the seconds until the rest was processed."""
    samples = []
    begin = time.monotonic()
    with feeder:
        while feeder.is_running:
            time.sleep(every)
            sample = _sample(pair, feeder.sent, time.monotonic() - begin)
            samples.append(sample)
            if not len(samples) % 12:
                sys.stderr.write(
                    f"{sample.at:,.0f} s: {feeder.sent:,} sent, lag {sample.whole_lag:,}, "
                    f"not archived {sample.behind:,}\n"
                )
    end = time.monotonic()
    while _settled(pair["consume"]) < feeder.sent or _archived(pair["archive"]) < feeder.sent:
        if time.monotonic() - end > _CATCH_UP_SECONDS:
            raise RuntimeError(
                "the rest was not processed in time: the rate is too high for this machine"
            )
        time.sleep(0.2)
    return samples, time.monotonic() - end


def _sample(pair: Mapping[str, Command], sent: int, at: float) -> Sample:
    return Sample(
        at,
        {name: resident_bytes(command.pid) for name, command in pair.items()},
        {
            labels[0]: int(value)
            for (name, labels), value in metrics(pair["consume"].port).items()
            if name == "events_kafka_lag_messages"
        },
        sent - _archived(pair["archive"]),
        os.getloadavg()[0],
    )


def _settled(process: Command) -> int:
    return _sum(process, "events_kafka_settled_total")


def _archived(process: Command) -> int:
    return _sum(process, "events_archive_messages_total")


def _sum(process: Command, name: str) -> int:
    values = metrics(process.port).items()
    return sum(int(value) for (metric, _), value in values if metric == name)


# --- bounds ---------------------------------------------------------------------------------------


def _bounds(
    settings: Settings,
    samples: Sequence[Sample],
    feeder: Feeder,
    rate: int,
    codes: Mapping[str, int],
) -> list[Bound]:
    expected = feeder.expected
    return [
        *(memory_bound(samples, name) for name in _PROCESSES),
        lag_bound("the lag of consume", [(one.at, one.whole_lag) for one in samples], rate),
        lag_bound("what is not archived", [(one.at, one.behind) for one in samples], rate),
        *(equal_bound(f"exit code of {name}", code, 0) for name, code in codes.items()),
        *_of_counters(settings, expected),
        *_of_archive(settings, expected),
        equal_bound("exit code of `verify`", _verify(settings), 0),
    ]


def _of_counters(settings: Settings, expected: Expected) -> Iterator[Bound]:
    counted: Hours = Counter()
    with closing(make_service(settings, may_make_tables=False)) as service:
        for customer in service.customers(limit=_CUSTOMERS).customers:
            query = BucketQuery(customer.customer_id, ALL_TIME, is_grouped=True)
            for bucket in service.all_buckets(query):
                for event_type, count in (bucket.counts or {}).items():
                    counted[customer.customer_id, event_type, bucket.start] = count
    yield equal_bound(
        "events in DynamoDB's counters", f"{counted.total():,}", f"{expected.distinct:,}"
    )
    yield _of_hours("hours counted in DynamoDB", counted, expected.hours)


def _of_archive(settings: Settings, expected: Expected) -> Iterator[Bound]:
    with closing(open_catalog(settings.iceberg_catalog_name, settings.iceberg_folder)) as catalog:
        raw = catalog.load_table((NAMESPACE, RAW)).scan().to_arrow()
        rejected = catalog.load_table((NAMESPACE, REJECTED)).scan().to_arrow()
    rows = raw.num_rows, rejected.num_rows
    yield equal_bound("rows of the archive", rows, (expected.events, expected.bad))
    four = ["customer_id", "event_type", "transaction_id", "timestamp"]
    distinct = raw.group_by(four).aggregate([])
    hour = pc.floor_temporal(distinct["timestamp"], unit="hour")
    by_hour = pa.table([distinct["customer_id"], distinct["event_type"], hour], names=[*"cth"])
    counts = by_hour.group_by([*"cth"]).aggregate([([], "count_all")]).to_pylist()
    counted: Hours = Counter(
        {(row["c"], row["t"], row["h"].astimezone(UTC)): row["count_all"] for row in counts}
    )
    yield _of_hours("hours counted in the archive", counted, expected.hours)


def _of_hours(name: str, counted: Hours, expected: Hours) -> Bound:
    """Every hour of each customer and type has the right count."""
    right = sum(counted[hour] == count for hour, count in expected.items())
    return Bound(
        name,
        f"{right:,} right of {len(counted):,}",
        f"{len(expected):,} right",
        counted == expected,
    )


def _verify(settings: Settings) -> int:
    command = [sys.executable, "-m", "events", "verify", "--json"]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=environment_of(settings),
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode


# --- output ---------------------------------------------------------------------------------------


def _print(
    samples: Sequence[Sample], bounds: Sequence[Bound], feeder: Feeder, caught_up: float
) -> None:
    sent, seconds = feeder.sent, feeder.seconds
    print_table(
        f"Soak of {sent:,} messages in {seconds:,.0f} s: {sent / seconds:,.0f} a second",
        ("", "1st quarter", "2nd", "3rd", "4th", "maximum"),
        [
            *(
                _series(f"MB of {name}", samples, [one.resident[name] / 1e6 for one in samples])
                for name in _PROCESSES
            ),
            _series("lag of consume, messages", samples, [one.whole_lag for one in samples]),
            _series(
                "its largest partition",
                samples,
                [max(one.lag.values(), default=0) for one in samples],
            ),
            _series("sent and not archived", samples, [one.behind for one in samples]),
            _series("load average", samples, [one.load for one in samples], digits=1),
        ],
    )
    print(
        f"\nMedians of {len(samples):,} samples. {DUPLICATES:.0%} are duplicates, one in "
        f"{BAD_EVERY:,} is invalid. The producer was at most {feeder.seconds_late:.1f} s late. All "
        f"messages were counted and archived {caught_up:.1f} s after the last one."
    )
    last = samples[-1].lag.items()
    lags = ", ".join(f"{partition}: {lag:,}" for partition, lag in sorted(last, key=_by_number))
    print(f"\nLag by partition in the last sample: {lags}.")
    print_table(
        "Bounds",
        ("", "found", "bound", ""),
        [
            (bound.name, bound.found, bound.bound, "" if bound.is_kept else "**broken**")
            for bound in bounds
        ],
    )


def _by_number(lag: tuple[str, int]) -> int:
    return int(lag[0])


def _series(
    name: str, samples: Sequence[Sample], values: Sequence[float], *, digits: int = 0
) -> Sequence[str]:
    by_sample = dict(zip(map(id, samples), values, strict=True))
    medians = [
        statistics.median(by_sample[id(item)] for item in quarter) for quarter in quarters(samples)
    ]
    return (name, *(f"{item:,.{digits}f}" for item in (*medians, max(values))))
