"""Rows of CSV, and events of JSON, that one core parses per second."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from pathlib import Path

from benchmarks.eventrequests import requests_of
from benchmarks.ingest import events_of
from benchmarks.measuring import interleaved, print_table, rate_row, times, write_events
from events.api.payloads import parse_json
from events.ingest.files import open_lines
from events.ingest.records import read_records
from resources.make_events import Plan

AIM_ROWS_PER_SECOND = 500_000


def run(*, is_quick: bool) -> None:
    rows = 20_000 if is_quick else 500_000
    with tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder:
        plain, mixed = Path(folder, "plain.csv"), Path(folder, "mixed.csv")
        write_events(plain, Plan(rows=rows, plain=True))
        write_events(mixed, Plan(rows=rows))
        bodies = _bodies(plain)
        figures = interleaved(
            2 if is_quick else 7,
            {
                "one spelling": lambda: rows / _seconds(plain),
                "13 spellings": lambda: rows / _seconds(mixed),
                "JSON, 1,000 a body": lambda: rows / _json_seconds(bodies),
            },
        )
    print_table(
        f"Parse and normalise {rows:,} rows",
        ("file", "rows/s (median)", "lowest–highest", f"of the aim {AIM_ROWS_PER_SECOND:,}/s"),
        [
            rate_row(name, rates, "" if "JSON" in name else times(rates, [AIM_ROWS_PER_SECOND]))
            for name, rates in figures.items()
        ],
    )


def _seconds(path: Path) -> float:
    """Processor seconds to read a file from the page cache; other programs do not count."""
    begin = time.process_time()
    with open_lines(str(path)) as source:
        deque(read_records(source), maxlen=0)
    return time.process_time() - begin


def _bodies(path: Path) -> list[bytes]:
    """The same events as bodies of POST /events."""
    requests = requests_of(events_of(path), 1_000)
    return [request.body for request in requests if request.body is not None]


def _json_seconds(bodies: list[bytes]) -> float:
    begin = time.process_time()
    for body in bodies:
        parse_json(body, 1_000)
    return time.process_time() - begin
