"""Samples of a long run, and bounds on them: flat memory, no growing lag."""

from __future__ import annotations

import os
import statistics
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

#: Median memory of the last quarter, divided by the median of the second quarter.
MAX_GROWTH = 1.05
#: A lag that grows by less than the messages of so many seconds is noise.
_NOISE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """
    Measurements at one moment.

    Args:
        at: Seconds since the start.
        resident: Bytes in memory, by process.
        lag: Uncommitted messages of the consumer, by partition.
        behind: Messages that were sent but not archived.
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
    """A bound, and the value found."""

    name: str
    found: str
    bound: str
    is_kept: bool


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def metrics(port: int) -> dict[tuple[str, tuple[str, ...]], float]:
    """The values at /metrics, by name and label values."""
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
    """Ignores the first quarter, in which a process fills its buffers."""
    _, second, _, last = quarters(samples)
    before = statistics.median(one.resident[process] for one in second)
    after = statistics.median(one.resident[process] for one in last)
    return Bound(
        f"memory of {process}, last quarter to second",
        f"{after / before:.3f} × ({before / 1e6:.1f} MB, {after / 1e6:.1f} MB)",
        f"≤ {MAX_GROWTH} ×",
        after / before <= MAX_GROWTH,
    )


def lag_bound(name: str, points: Sequence[tuple[float, int]], rate: float) -> Bound:
    """
    Fits a line through the second half of the points.

    Args:
        points: (seconds, messages).
        rate: Messages sent per second.
    """
    half = points[len(points) // 2 :]
    at, lag = [point[0] for point in half], [point[1] for point in half]
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


def equal_bound(name: str, found: object, expected: object) -> Bound:
    return Bound(name, f"{found}", f"= {expected}", found == expected)
