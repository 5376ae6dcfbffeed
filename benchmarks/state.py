"""State of the streaming job while event time advances by a month."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import bus
from benchmarks.ingest import events_of
from benchmarks.measuring import print_table, run_python, write_events
from events.config import Settings
from resources.make_events import Plan

_DAYS = 31
_WATERMARK_HOURS = 12

Lines = Sequence[Mapping[str, Any]]


def run(*, is_quick: bool) -> None:
    rows, max_per_batch = (20_000, 2_000) if is_quick else (150_000, 3_000)
    with (
        tempfile.TemporaryDirectory(prefix="events-benchmark-") as name,
        bus.broker(Path(name)) as broker,
    ):
        folder = Path(name)
        settings = Settings(
            events_kafka_bootstrap_servers=broker.bootstrap_servers,
            events_iceberg_catalog=str(folder / "iceberg"),
        )
        path = folder / "events.csv"
        write_events(path, Plan(rows=rows, days=_DAYS))
        bus.send(settings, events_of(path))
        *batches, total = _run_job(settings, folder / "checkpoint", max_per_batch)
        settings = settings.model_copy(update={"events_iceberg_catalog": str(folder / "again")})
        *large, _ = _run_job(settings, folder / "another", rows)
    _print(rows, max_per_batch, batches, total["total"])
    seconds = sum(batch["seconds"] for batch in large)
    print(
        f"\nThe same in one batch: {rows / seconds:,.0f} events/s on {os.cpu_count()} cores "
        f"({seconds:.0f} s, the first query of its session)."
    )


def _run_job(settings: Settings, checkpoint: Path, max_per_batch: int) -> Lines:
    output, _ = run_python(
        settings,
        *("-m", "jobs.stream_counts", "--checkpoint", str(checkpoint)),
        *("--until-end", "--most-a-batch", str(max_per_batch)),
        *("--watermark-seconds", str(_WATERMARK_HOURS * 3_600)),
    )
    return [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]


def _print(rows: int, max_per_batch: int, batches: Lines, total: Mapping[str, int]) -> None:
    per_watermark = rows * _WATERMARK_HOURS // (_DAYS * 24)
    states = [batch["state_rows"] for batch in batches]
    edges = [len(batches) * part // 4 for part in range(5)]
    quarters = [batches[begin:end] for begin, end in pairwise(edges)]
    print_table(
        f"State over {rows:,} messages of {_DAYS} days, watermark of {_WATERMARK_HOURS} hours",
        (
            "quarter of the batches",
            "watermark at its end",
            "state rows, median",
            "maximum",
            "state MB",
        ),
        [
            (
                f"{number}",
                f"{quarter[-1]['watermark']}",
                f"{statistics.median(batch['state_rows'] for batch in quarter):,.0f}",
                f"{max(batch['state_rows'] for batch in quarter):,}",
                f"{max(batch['state_bytes'] for batch in quarter) / 1e6:.1f}",
            )
            for number, quarter in enumerate(quarters, start=1)
        ],
    )
    print(
        f"\n{len(batches):,} batches of at most {max_per_batch:,} messages in "
        f"{sum(batch['seconds'] for batch in batches):,.0f} s. A watermark is about "
        f"{per_watermark:,} events long. Maximum state: {max(states):,} rows, in the last "
        f"batch {states[-1]:,}; read {total['read']:,}, late {total['dropped_by_watermark']:,}."
    )
