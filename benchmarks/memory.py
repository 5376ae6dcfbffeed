"""The peak memory of the CSV command, for a file and for one ten times as long."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import CHECKOUT, print_table, write_events
from resources.make_events import Plan

AIM_MEGABYTES = 150


def run(*, is_quick: bool) -> None:
    sizes = (20_000, 200_000) if is_quick else (1_000_000, 10_000_000)
    peaks = [(size, _peak_megabytes(size)) for size in sizes]
    smallest = peaks[0][1]
    print_table(
        "Peak memory of `ingest_events_from_file.py --dry-run`",
        ("rows", "peak", f"of the aim {AIM_MEGABYTES} MB", "to the smaller file"),
        [
            (
                f"{size:,}",
                f"{peak:.1f} MB",
                f"{peak / AIM_MEGABYTES:.2f} ×",
                f"{peak / smallest:.2f} ×",
            )
            for size, peak in peaks
        ],
    )


def _peak_megabytes(rows: int) -> float:
    with tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder:
        path = Path(folder, "events.csv")
        write_events(path, Plan(rows=rows))
        process = subprocess.Popen(
            [sys.executable, "ingest_events_from_file.py", "--dry-run", "--json", str(path)],
            cwd=CHECKOUT,
            stdout=subprocess.DEVNULL,
        )
        # wait4 gives what this one child used; getrusage the most of all children there were.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"the command ended with code {process.returncode}")
    kibibytes = usage.ru_maxrss / 1024 if sys.platform == "darwin" else usage.ru_maxrss
    return kibibytes * 1024 / 1e6
