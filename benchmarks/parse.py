"""How many rows a second are read, checked and normalised, on one core."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import deque
from pathlib import Path

from benchmarks.measuring import interleaved, print_table, spread, write_events
from events.ingest.csvrows import read_records
from events.ingest.source import open_lines
from resources.make_events import Plan

AIM_ROWS_PER_SECOND = 500_000


def run(*, is_quick: bool) -> None:
    rows = 20_000 if is_quick else 500_000
    with tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder:
        plain, mixed = Path(folder, "plain.csv"), Path(folder, "mixed.csv")
        write_events(plain, Plan(rows=rows, plain=True))
        write_events(mixed, Plan(rows=rows))
        figures = interleaved(
            2 if is_quick else 7,
            {
                "one spelling": lambda: rows / _seconds(plain),
                "13 spellings": lambda: rows / _seconds(mixed),
            },
        )
    print_table(
        f"Parse and normalise {rows:,} rows",
        ("file", "rows/s (median)", "lowest–highest", f"of the aim {AIM_ROWS_PER_SECOND:,}/s"),
        [
            (
                name,
                f"{statistics.median(values):,.0f}",
                spread(values),
                f"{statistics.median(values) / AIM_ROWS_PER_SECOND:.2f} ×",
            )
            for name, values in figures.items()
        ],
    )


def _seconds(path: Path) -> float:
    """Processor seconds, so that other programs do not count; the file is in the page cache."""
    begin = time.process_time()
    with open_lines(str(path)) as source:
        deque(read_records(source), maxlen=0)
    return time.process_time() - begin
