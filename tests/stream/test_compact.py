"""Compaction: the same rows in fewer files, and the archiver goes on where it was."""

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

from events.archive.archiver import Archiver
from events.archive.catalog import open_catalog
from events.archive.tables import RAW, ArchiveTable
from events.config import Settings
from events.models import Event
from jobs import compact, erase
from tests.stream.archives import archived, produce
from tests.support.factories import many_events

pytestmark = pytest.mark.usefixtures("spark", "job_environment")


def archive(settings: Settings) -> int:
    return Archiver(settings, is_until_end=True, patience_seconds=30).run().archived


@pytest.mark.parametrize("days", ["nan", "-1", "inf", "week", "1e9"])
def test_no_number_of_days_is_told_at_once(capsys: pytest.CaptureFixture[str], days: str) -> None:
    with pytest.raises(SystemExit) as ended:
        compact.main(["--keep-days", days])
    assert ended.value.code == 2
    assert f"--keep-days: '{days}': give a number from 0 to 36,500" in capsys.readouterr().err


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert compact.main(arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_rows_and_position_outlive_compaction_expiry_and_the_removal_of_orphans(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    events = []
    for seed in range(4):
        more = many_events(40, seed=seed, customers=5, hours=30)
        produce(settings, [*more, b"no event"])
        events += more
        assert archive(settings) == 40
    catalog = open_catalog(settings)
    position = ArchiveTable(catalog, RAW).position(settings.events_kafka_topic)

    # Every file is old, so that each one nothing refers to goes; of those one is planted.
    folder = Path(settings.iceberg_folder)
    (planted,) = [file.parent for file in folder.rglob("*.parquet") if "/raw/" in str(file)][:1]
    orphan = planted / "of-a-process-that-was-killed.parquet"
    orphan.write_bytes(b"PAR1")
    long_ago = time.time() - 10 * 86_400
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".db":
            os.utime(file, (long_ago, long_ago))

    raw, rejected = run(capsys, "--keep-days", "0")
    assert (raw["table"], rejected["table"]) == ("raw", "raw_rejected")
    assert raw["files_rewritten"] >= 4
    assert raw["files_written"] == 2, "one for each day"
    assert not orphan.exists()
    assert archived(settings) == Counter(events)

    # Nothing is left of the snapshots that carried it.
    table = catalog.load_table(("events", "raw"))
    assert [
        name for each in table.snapshots() for name in each.summary or {} if "position" in name
    ] == []
    assert ArchiveTable(catalog, RAW).position(settings.events_kafka_topic) == position
    catalog.close()

    more = many_events(10, seed=9)
    produce(settings, more)
    assert archive(settings) == 10
    assert archived(settings) == Counter([*events, *more])
    # Again, with nothing to do.
    run(capsys, "--keep-days", "0")
    assert archived(settings) == Counter([*events, *more])


def test_a_compaction_under_an_archiver_that_runs_makes_it_neither_lose_nor_repeat(
    settings: Settings, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    del spark
    often = settings.model_copy(update={"events_archive_seconds": 0.1})
    events = many_events(20)
    produce(settings, events)
    archiver = Archiver(often, patience_seconds=60, max_rows=1)
    thread = threading.Thread(target=archiver.run)
    thread.start()
    try:
        for seed in range(1, 4):
            more = many_events(20, seed=seed)
            produce(settings, more)
            events += more
            run(capsys, "--keep-days", "0")
    finally:
        archiver.stop()
        thread.join()
    archive(settings)
    assert archived(settings) == Counter(events)


def test_an_erased_customer_is_in_no_file_of_the_archive(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = [replace_customer(each, "o'gone") for each in many_events(10, seed=1)]
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
    assert archive(settings) == 3, "it goes on where it was"
    assert erase.main(["customer-0"]) == 2


def replace_customer(event: Event, customer_id: str) -> Event:
    return event._replace(customer_id=customer_id)
