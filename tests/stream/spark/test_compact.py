"""Compaction keeps the rows in fewer files; erasing removes a customer from all files."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from pyspark.sql import SparkSession

from events.archive.tables import RAW, ArchiveTable
from events.config import Settings
from jobs import compact, erase
from tests.stream.archives import archive, archived, make_archiver, open_archive, produce
from tests.support.factories import many_events

pytestmark = pytest.mark.usefixtures("spark", "job_environment")


@pytest.mark.parametrize("days", ["nan", "-1", "inf", "week", "1e9"])
def test_an_invalid_number_of_days_is_refused(
    capsys: pytest.CaptureFixture[str], days: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        compact.main(["--keep-days", days])
    assert ended.value.code == 2
    assert f"--keep-days: '{days}': use a number from 0 to 36,500" in capsys.readouterr().err


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert compact.main(arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_rows_and_position_outlive_compaction_and_expiry(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    events = []
    for seed in range(2):
        more = many_events(40, seed=seed, customers=5, hours=30)
        produce(settings, [*more, b"no event"])
        events += more
        assert archive(settings).archived == 40
    catalog = open_archive(settings)
    position = ArchiveTable(catalog, RAW).position(settings.events_kafka_topic)

    # Make every file old and plant an orphan: compaction removes old files without references.
    folder = Path(settings.iceberg_folder)
    (data_folder,) = [file.parent for file in folder.rglob("*.parquet") if "/raw/" in str(file)][:1]
    orphan = data_folder / "orphan.parquet"
    orphan.write_bytes(b"PAR1")
    long_ago = time.time() - 10 * 86_400
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".db":
            os.utime(file, (long_ago, long_ago))

    raw, rejected = run(capsys, "--keep-days", "0")
    assert (raw["table"], rejected["table"]) == ("raw", "raw_rejected")
    assert raw["files_rewritten"] >= 4
    assert raw["files_written"] == 2, "one file a day"
    assert not orphan.exists()
    assert archived(settings) == Counter(events)

    # No snapshot that carried the position is left.
    table = catalog.load_table(("events", "raw"))
    assert [
        name
        for snapshot in table.snapshots()
        for name in snapshot.summary or {}
        if "position" in name
    ] == []
    assert ArchiveTable(catalog, RAW).position(settings.events_kafka_topic) == position
    catalog.close()

    more = many_events(10, seed=9)
    produce(settings, more)
    assert archive(settings).archived == 10
    assert archived(settings) == Counter([*events, *more])


def test_an_archiver_that_runs_meanwhile_loses_and_repeats_nothing(
    settings: Settings, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    del spark
    events = many_events(20)
    produce(settings, events)
    archiver = make_archiver(settings, commit_rows=1, commit_seconds=0.1, patience_seconds=60)
    thread = threading.Thread(target=archiver.run)
    thread.start()
    try:
        for seed in range(1, 3):
            more = many_events(20, seed=seed)
            produce(settings, more)
            events += more
            run(capsys, "--keep-days", "0")
    finally:
        archiver.stop()
        thread.join()
    archive(settings)
    assert archived(settings) == Counter(events)


def test_an_erased_customer_is_in_no_file(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = [one._replace(customer_id="o'gone") for one in many_events(10, seed=1)]
    kept = many_events(10)
    produce(settings, [*kept, *gone])
    archive(settings)
    assert erase.main(["o'gone", "--yes"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"table": "raw", "rows_erased": 10}]
    assert archived(settings) == Counter(kept)
    left = [parquet.read_table(file) for file in Path(settings.iceberg_folder).rglob("*.parquet")]
    names = {name for table in left for name in table.column("customer_id").to_pylist()}
    assert names == {"customer-0"}

    produce(settings, many_events(3, seed=2))
    assert archive(settings).archived == 3, "the position is kept"
    assert erase.main(["customer-0"]) == 2
