"""Samples of a long run, and what they say: is memory flat, does the lag grow."""

from __future__ import annotations

import os
import statistics
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

#: Memory of the last quarter to that of the second one, in medians.
MOST_GROWTH = 1.05
#: A lag that grows by no more than what comes in so many seconds is noise.
_NOISE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One moment.

    Args:
        at: Seconds since the begin.
        resident: Bytes in memory, by process.
        lag: Messages that are not committed, by partition, of the consumer.
        behind: Messages that are sent and not archived.
        load: Load average of one minute.
    """

    at: float
    resident: Mapping[str, int]
    lag: Mapping[str, int]
    behind: int
    load: float

    @property
    def whole_lag(self) -> int:
        return sum(self.lag.values())


@dataclass(frozen=True, slots=True)
class Bound:
    """Something that must hold, and what was found."""

    name: str
    found: str
    bound: str
    is_kept: bool


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measures(port: int) -> dict[tuple[str, tuple[str, ...]], float]:
    """What a process serves at /metrics, by name and values of its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def quarters(samples: Sequence[Sample]) -> list[Sequence[Sample]]:
    edges = [len(samples) * part // 4 for part in range(5)]
    return [samples[begin:end] for begin, end in pairwise(edges)]


def memory_bound(samples: Sequence[Sample], process: str) -> Bound:
    """The first quarter is left out: a process fills its buffers then."""
    _, second, _, last = quarters(samples)
    before = statistics.median(each.resident[process] for each in second)
    after = statistics.median(each.resident[process] for each in last)
    return Bound(
        f"memory of {process}, last quarter to the second",
        f"{after / before:.3f} × ({before / 1e6:.1f} MB, {after / 1e6:.1f} MB)",
        f"≤ {MOST_GROWTH} ×",
        after / before <= MOST_GROWTH,
    )


def lag_bound(name: str, points: Sequence[tuple[float, int]], rate: float) -> Bound:
    """
    A line through the second half of the points.

    Args:
        points: Seconds and messages.
        rate: Messages that come in a second.
    """
    half = points[len(points) // 2 :]
    at, lag = [each[0] for each in half], [each[1] for each in half]
    line = statistics.linear_regression(at, lag)
    growth = line.slope * (at[-1] - at[0])
    rest = [y - line.slope * x - line.intercept for x, y in half]
    noise = max(_NOISE_SECONDS * rate, 2 * statistics.pstdev(rest))
    return Bound(
        f"growth of {name} over the second half",
        f"{growth:+,.0f} messages",
        f"≤ {noise:,.0f} (noise)",
        growth <= noise,
    )


def equal_bound(name: str, found: object, wanted: object) -> Bound:
    return Bound(name, f"{found}", f"= {wanted}", found == wanted)
