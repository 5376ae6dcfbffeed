"""The peak memory of the CSV command, for a file and for one ten times as long."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import print_table, run_python, write_events
from events.config import Settings
from resources.make_events import Plan

AIM_MEGABYTES = 150
AIM_MEGABYTES_ON_SQL = 200


def run(*, is_quick: bool) -> None:
    sizes = (20_000, 200_000) if is_quick else (1_000_000, 10_000_000)
    _print_peaks("--dry-run", AIM_MEGABYTES, sizes, Settings())


def run_on_sqlite(*, is_quick: bool) -> None:
    sizes = (20_000, 200_000) if is_quick else (1_000_000, 10_000_000)
    with tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder:
        settings = Settings(events_database_url=f"sqlite:///{folder}/events.db")
        _print_peaks("--json", AIM_MEGABYTES_ON_SQL, sizes, settings)


def _print_peaks(option: str, aim: int, sizes: Sequence[int], settings: Settings) -> None:
    peaks = [(size, _peak_megabytes(size, option, settings)) for size in sizes]
    smallest = peaks[0][1]
    where = " into SQLite" if settings.events_database_url else ""
    print_table(
        f"Peak memory of `ingest_events_from_file.py {option}`{where}",
        ("rows", "peak", f"of the aim {aim} MB", "to the smaller file"),
        [
            (
                f"{size:,}",
                f"{peak:.1f} MB",
                f"{peak / aim:.2f} ×",
                f"{peak / smallest:.2f} ×",
            )
            for size, peak in peaks
        ],
    )


def _peak_megabytes(rows: int, option: str, settings: Settings) -> float:
    with tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder:
        path = Path(folder, "events.csv")
        write_events(path, Plan(rows=rows))
        ran = run_python(settings, "ingest_events_from_file.py", option, str(path))
    resident = ran.usage.ru_maxrss
    kibibytes = resident / 1024 if sys.platform == "darwin" else resident
    return kibibytes * 1024 / 1e6
