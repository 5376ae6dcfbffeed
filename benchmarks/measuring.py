"""What every benchmark needs: a fresh database, files of events, medians, a table."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from events.config import Settings
from events.local import dynamodb
from resources.make_events import Plan, lines

CHECKOUT = Path(__file__).parents[1]


@contextmanager
def database() -> Iterator[dynamodb.DynamoDBLocal]:
    """A DynamoDB Local that keeps its data on disk, in a folder that goes with it."""
    with (
        tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder,
        dynamodb.start(data_folder=Path(folder)) as server,
    ):
        yield server


def fresh_settings(server: dynamodb.DynamoDBLocal) -> Settings:
    """Settings that name tables which nothing else uses."""
    return Settings(
        dynamodb_endpoint_url=server.endpoint_url,
        dynamodb_events_table_name=f"b{uuid.uuid4().hex}",
    )


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment of a child process with these settings."""
    return {**os.environ, **settings.environment(), "EVENTS_LOG_LEVEL": "warning"}


class Ran(NamedTuple):
    """What a program printed, and what it used."""

    output: bytes
    usage: resource.struct_rusage


def run_python(settings: Settings, *arguments: str) -> Ran:
    """Run Python with these arguments to its end; raises if its exit code is not 0."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=CHECKOUT,
        env=environment_of(settings),
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        output = process.stdout.read()
        # wait4 returns the usage of this child; getrusage that of all children.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with code {process.returncode}")
    return Ran(output, usage)


def expect(found: int, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"found {found:,} instead of {expected:,}: nothing is measured")


def write_events(path: Path, plan: Plan) -> None:
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(lines(plan))


def interleaved(rounds: int, variants: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """
    Run all variants, round after round, each round beginning with the next, so that a busy moment
    of the machine, or what one variant leaves behind, meets them all.

    Args:
        variants: Each returns its own figure.
    """
    figures: dict[str, list[float]] = {name: [] for name in variants}
    order = list(variants)
    for number in range(rounds):
        for name in order:
            figures[name].append(variants[name]())
        order = [*order[1:], order[0]]
        said = ", ".join(f"{name} {values[-1]:,.0f}" for name, values in figures.items())
        sys.stderr.write(f"round {number + 1} of {rounds}: {said}\n")
    return figures


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def rate_row(name: str, rates: Sequence[float], *more: str) -> tuple[str, ...]:
    """The start of a row: a variant, its median rate, the lowest and the highest."""
    return name, f"{statistics.median(rates):,.0f}", spread(rates), *more


def times(above: Sequence[float], below: Sequence[float]) -> str:
    return f"{median_ratio(above, below):.2f} ×"


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return statistics.median(above) / statistics.median(below)


def spread(values: Sequence[float]) -> str:
    return f"{min(values):,.0f}–{max(values):,.0f}"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n### {title}\n")
    print(f"| {' | '.join(header)} |")
    print(f"|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def machine() -> str:
    return (
        f"{os.cpu_count()} cores, {_cpu_model()}, Python {platform.python_version()}, "
        f"boto3 {version('boto3')}, botocore {version('botocore')}, "
        f"DynamoDB Local {dynamodb.VERSION} on disk"
    )


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
