"""A long run at a steady rate: memory stays flat, no lag grows, and the counts are right."""

from __future__ import annotations

import os
import signal
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
from benchmarks.feeding import BAD_EVERY, DUPLICATES, Expected, Feeder, Hours
from benchmarks.measuring import CHECKOUT, database, print_table
from benchmarks.watching import (
    Bound,
    Sample,
    equal_bound,
    lag_bound,
    measures,
    memory_bound,
    quarters,
    resident_bytes,
)
from events.archive.catalog import open_catalog
from events.archive.tables import NAMESPACE, RAW, REJECTED
from events.bootstrap import make_service
from events.config import Settings
from events.domain.windows import ALL_TIME
from events.kafka.clients import Cluster, dead_letter_topic, ensure_topics
from events.local.javaserver import free_port
from events.models import BucketQuery

MESSAGES, RATE = 1_000_000, 1_200
_QUICK_MESSAGES, _QUICK_RATE = 6_000, 300
_PROCESSES = ("consume", "archive")
_EVERY_SECONDS = 5.0
_START_SECONDS = 60.0
#: What is left once all is sent must be done by then.
_CATCH_UP_SECONDS = 600.0
_STOP_SECONDS = 60.0
_CUSTOMERS = 1_000
#: One message in so many comes at once at the begin. `consume` then holds as many as it may, so
#: that what it takes for them, whenever it lags again, is not taken for growth.
_BACKLOG = 50


def run(*, is_quick: bool, messages: int | None = None, rate: int | None = None) -> bool:
    """Whether all bounds were kept."""
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
            codes = {each: pair[each].stop() for each in _PROCESSES}
        bounds = _bounds(settings, samples, feeder, rate, codes)
    _print(samples, bounds, feeder, caught_up)
    return all(each.is_kept for each in bounds)


# --- the run --------------------------------------------------------------------------------------


class _Process:
    """One of our commands, with its measures at a port."""

    def __init__(self, settings: Settings, *command: str) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "events", *command, str(self.port)],
            cwd=CHECKOUT,
            env=bus.environment(settings),
            stdout=subprocess.DEVNULL,
        )
        self.pid = self._process.pid

    def is_answering(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"a process ended with code {self._process.returncode}")
        try:
            measures(self.port)
        except OSError:
            return False
        return True

    def stop(self) -> int:
        """In good order; returns its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextmanager
def _processes(settings: Settings) -> Iterator[Mapping[str, _Process]]:
    pair: dict[str, _Process] = {}
    try:
        pair["consume"] = _Process(settings, "consume", "--port")
        pair["archive"] = _Process(settings, "archive", "--metrics-port")
        deadline = time.monotonic() + _START_SECONDS
        while not all(each.is_answering() for each in pair.values()):
            if time.monotonic() > deadline:
                raise RuntimeError("the processes did not start in time")
            time.sleep(0.1)
        yield pair
    finally:
        for each in pair.values():
            each.stop()


def _watch(
    pair: Mapping[str, _Process], feeder: Feeder, every: float
) -> tuple[Sequence[Sample], float]:
    """Samples of the time in which messages came, and the seconds that the rest took."""
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
            raise RuntimeError("what is left was not done in time: the rate is too high here")
        time.sleep(0.2)
    return samples, time.monotonic() - end


def _sample(pair: Mapping[str, _Process], sent: int, at: float) -> Sample:
    return Sample(
        at,
        {name: resident_bytes(each.pid) for name, each in pair.items()},
        {
            labels[0]: int(value)
            for (name, labels), value in measures(pair["consume"].port).items()
            if name == "events_kafka_lag_messages"
        },
        sent - _archived(pair["archive"]),
        os.getloadavg()[0],
    )


def _settled(process: _Process) -> int:
    return _sum(process, "events_kafka_settled_total")


def _archived(process: _Process) -> int:
    return _sum(process, "events_archive_messages_total")


def _sum(process: _Process, wanted: str) -> int:
    return sum(int(value) for (name, _), value in measures(process.port).items() if name == wanted)


# --- what must hold -------------------------------------------------------------------------------


def _bounds(
    settings: Settings,
    samples: Sequence[Sample],
    feeder: Feeder,
    rate: int,
    codes: Mapping[str, int],
) -> list[Bound]:
    wanted = feeder.expected
    return [
        *(memory_bound(samples, each) for each in _PROCESSES),
        lag_bound("the lag of consume", [(each.at, each.whole_lag) for each in samples], rate),
        lag_bound("what is not archived", [(each.at, each.behind) for each in samples], rate),
        *(equal_bound(f"exit code of {name}", code, 0) for name, code in codes.items()),
        *_of_counters(settings, wanted),
        *_of_archive(settings, wanted),
        equal_bound("exit code of `verify`", _verify(settings), 0),
    ]


def _of_counters(settings: Settings, wanted: Expected) -> Iterator[Bound]:
    found: Hours = Counter()
    with closing(make_service(settings, may_make_tables=False)) as service:
        for each in service.customers(limit=_CUSTOMERS).customers:
            query = BucketQuery(each.customer_id, ALL_TIME, is_grouped=True)
            for bucket in service.all_buckets(query):
                for event_type, count in (bucket.counts or {}).items():
                    found[each.customer_id, event_type, bucket.start] = count
    yield equal_bound("events in DynamoDB's counters", f"{found.total():,}", f"{wanted.distinct:,}")
    yield _of_hours("hours counted in DynamoDB", found, wanted.hours)


def _of_archive(settings: Settings, wanted: Expected) -> Iterator[Bound]:
    with closing(open_catalog(settings.iceberg_catalog_name, settings.iceberg_folder)) as catalog:
        raw = catalog.load_table((NAMESPACE, RAW)).scan().to_arrow()
        rejected = catalog.load_table((NAMESPACE, REJECTED)).scan().to_arrow()
    places = raw.num_rows, rejected.num_rows
    yield equal_bound("rows of the archive", places, (wanted.events, wanted.bad))
    four = ["customer_id", "event_type", "transaction_id", "timestamp"]
    distinct = raw.group_by(four).aggregate([])
    hour = pc.floor_temporal(distinct["timestamp"], unit="hour")
    by_hour = pa.table([distinct["customer_id"], distinct["event_type"], hour], names=[*"cth"])
    counts = by_hour.group_by([*"cth"]).aggregate([([], "count_all")]).to_pylist()
    found: Hours = Counter(
        {(row["c"], row["t"], row["h"].astimezone(UTC)): row["count_all"] for row in counts}
    )
    yield _of_hours("hours counted in the archive", found, wanted.hours)


def _of_hours(name: str, found: Hours, wanted: Hours) -> Bound:
    """Of each customer and type; those of which the count is right."""
    right = sum(found[each] == count for each, count in wanted.items())
    kept = found == wanted
    return Bound(name, f"{right:,} right of {len(found):,}", f"{len(wanted):,} right", kept)


def _verify(settings: Settings) -> int:
    command = [sys.executable, "-m", "events", "verify", "--json"]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=bus.environment(settings),
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode


# --- what is said ---------------------------------------------------------------------------------


def _print(
    samples: Sequence[Sample], bounds: Sequence[Bound], feeder: Feeder, caught_up: float
) -> None:
    sent, seconds = feeder.sent, feeder.seconds
    print_table(
        f"Soak of {sent:,} messages in {seconds:,.0f} s: {sent / seconds:,.0f} a second",
        ("", "1st quarter", "2nd", "3rd", "4th", "most"),
        [
            *(
                _series(f"MB of {name}", samples, [each.resident[name] / 1e6 for each in samples])
                for name in _PROCESSES
            ),
            _series("lag of consume, messages", samples, [each.whole_lag for each in samples]),
            _series(
                "its largest partition",
                samples,
                [max(each.lag.values(), default=0) for each in samples],
            ),
            _series("sent and not archived", samples, [each.behind for each in samples]),
            _series("load average", samples, [each.load for each in samples], digits=1),
        ],
    )
    print(
        f"\nMedians of {len(samples):,} samples. {DUPLICATES:.0%} are duplicates, one in "
        f"{BAD_EVERY:,} is bad. The producer was {feeder.seconds_late:.1f} s behind at most; after "
        f"the last message {caught_up:.1f} s until all was counted and archived."
    )
    last = samples[-1].lag.items()
    lags = ", ".join(f"{partition}: {lag:,}" for partition, lag in sorted(last, key=_by_number))
    print(f"\nLag by partition in the last sample: {lags}.")
    print_table(
        "What must hold",
        ("", "found", "bound", ""),
        [
            (each.name, each.found, each.bound, "" if each.is_kept else "**broken**")
            for each in bounds
        ],
    )


def _by_number(lag: tuple[str, int]) -> int:
    return int(lag[0])


def _series(
    name: str, samples: Sequence[Sample], values: Sequence[float], *, digits: int = 0
) -> Sequence[str]:
    by_sample = dict(zip(map(id, samples), values, strict=True))
    medians = [
        statistics.median(by_sample[id(each)] for each in quarter) for quarter in quarters(samples)
    ]
    return (name, *(f"{each:,.{digits}f}" for each in (*medians, max(values))))
