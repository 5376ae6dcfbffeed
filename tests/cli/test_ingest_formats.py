"""`ingest_events_from_file.py` and `void`: files as other systems write them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import zstandard

from tests.support.shell import HEADER, INGEST, Ran, Shell
from tests.support.summaries import in_short, summary, untimed
from tests.support.tables import Tables, contents_of

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
ROW = "acme,view,t-1,2021-03-01T10:00:00Z\n"
ONE = contents_of([("acme", "view", "t-1", TEN)])
EVENTS = "-m", "events"

#: Content and options; each is the event of `ROW`.
FILES: dict[str, tuple[str | bytes, Sequence[str]]] = {
    "aliases.csv": ("Subject,Event Name,idempotency-key,occurredAt\n" + ROW, ()),
    "mapped.csv": (
        "id,user_id,event,created_at\nt-1,acme,view,2021-03-01 10:00:00+00\n",
        ("--columns", "transaction_id=id"),
    ),
    "excel.csv": ("sep=;\r\n" + (HEADER + ROW).replace(",", ";").replace("\n", ";\r\n"), ()),
    "pandas.csv": ("," + HEADER + "0," + ROW + ",,,,\n", ()),
    "tabs.tsv": ((HEADER + ROW).replace(",", "\t"), ()),
    "pipes.txt": (ROW.replace(",", "|"), ()),
    "colons.txt": ("acme~view~t-1~2021-03-01 10:00:00 UTC", ("--delimiter", "~")),
    "utf16.csv": ((HEADER + ROW).encode("utf-16-le"), ()),
    "day-first.csv": (
        "acme,view,t-1,01.03.2021 11:00",
        ("--timestamp-format", "%d.%m.%Y %H:%M", "--assume-timezone", "Europe/Berlin"),
    ),
    "millis.csv": ("acme,view,t-1,1614592800000", ("--timestamp-format", "epoch-ms")),
    "auto.csv": ("acme,view,t-1,1614592800", ("--timestamp-format", "auto")),
    "repeated.csv": (
        HEADER + "acme,view,t-1,2021-03-01 11:00:00[Europe/Berlin]",
        ("--ambiguous-hour", "second"),
    ),
    "events.jsonl": (
        '\n{"user_id": "acme", "type": "view", "key": "t-1", "x": 1, '
        '"time": "2021-03-01T10:00:00Z"}\n',
        ("--columns", "transaction_id=key"),
    ),
    "events.csv.gz": (gzip.compress(HEADER.encode()) + gzip.compress(ROW.encode()), ()),
    "events.csv.zst": (zstandard.compress((HEADER + ROW).encode()), ()),
    "events.csv.bz2": (bz2.compress((HEADER + ROW).encode()), ()),
}  # fmt: skip


@pytest.mark.slow
def test_a_file_of_another_system_is_ingested_and_voided(shell: Shell, tables: Tables) -> None:
    for number, (name, (content, options)) in enumerate(FILES.items()):
        shell.write(name, content)
        ran = shell.call(INGEST, name, *options, "--json")
        assert (ran.code, ran.err) == (0, ""), name
        answer = json.loads(ran.out)
        assert (answer["inserted"], answer["duplicates"]) == ((0, 1) if number else (1, 0)), name
        assert answer["ignored_columns"] == (["x"] if name == "events.jsonl" else []), name
    assert tables.contents() == ONE
    for name in ("mapped.csv", "day-first.csv", "auto.csv", "events.jsonl", "events.csv.zst"):
        ran = shell.call(*EVENTS, "void", name, "--reason", "x", *FILES[name][1], "--json")
        assert (ran.code, ran.err) == (0, ""), name
        answer = json.loads(ran.out)
        assert answer["voided"] + answer["already_voided"] == 1, name


def test_parquet_is_ingested(shell: Shell, tables: Tables) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    times = pa.array([TEN, TEN], pa.timestamp("us", tz="UTC"))
    table = pa.table(
        {"id": ["t-1"] * 2, "user_id": ["acme"] * 2, "event": ["view"] * 2, "created_at": times}
    )
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    shell.write("events.parquet", buffer.getvalue())

    ran = shell.call(INGEST, "events.parquet", "--columns", "transaction_id=id")

    assert in_short(ran) == Ran(0, summary("events.parquet", inserted=1, duplicates=1), "")
    assert tables.contents() == ONE


def test_several_files_and_patterns_have_a_summary_each_and_a_total(
    shell: Shell, tables: Tables
) -> None:
    shell.write("b-1.csv", HEADER + ROW + "bad\n")
    shell.write(
        "b-2.csv.gz", gzip.compress((HEADER.strip() + ",price\n" + ROW.strip() + ",7\n").encode())
    )
    shell.write("a.jsonl", "[{}]")
    first = shell.call(INGEST, "a.jsonl", os.fspath(shell.folder / "b-*.csv*"))
    again = shell.call(INGEST, "b-1.csv", "b-2.csv.gz", "b-1.csv.rejects.csv", "--json")

    folder = shell.folder
    assert (first.code, untimed(first.out)) == (
        2,
        f"{folder}/b-1.csv: 2 rows read\n"
        "  inserted               1\n"
        "  duplicates             0\n"
        "  rejected               1\n"
        f"  rejected rows with line number and reason: {folder}/b-1.csv.rejects.csv\n"
        f"{folder}/b-2.csv.gz: 1 row read\n"
        "  inserted               0\n"
        "  duplicates             1\n"
        "  rejected               0\n"
        "  ignored columns: price\n"
        "total of 3 files: 3 rows read\n"
        "  inserted               1\n"
        "  duplicates             1\n"
        "  rejected               1\n",
    )
    assert first.err == (
        "error: a.jsonl, line 1: a JSON array. Write one object a line, as with jq -c '.[]'\n"
        f"rejected line 3 of {folder}/b-1.csv: has 1 column, not 4\n"
    )
    assert again.code == 1
    assert again.err.startswith("b-1.csv.rejects.csv: not read, because it has the rejected rows")
    answer = json.loads(again.out)
    assert [file["file"] for file in answer["files"]] == ["b-1.csv", "b-2.csv.gz"]
    assert (answer["total"]["duplicates"], answer["total"]["rejected"]) == (2, 1)
    assert tables.contents() == ONE
    voided = shell.call(*EVENTS, "void", "b-1.csv", "b-2.csv.gz", "--reason", "x")
    assert voided.code == 1
    assert voided.out.endswith(
        "total: 3 rows read\n"
        "  voided                     1\n"
        "  already voided             1\n"
        "  not found                  0\n"
        "  rejected                   1\n"
    )


def test_auto_that_finds_two_readings_stores_nothing(shell: Shell, tables: Tables) -> None:
    content = HEADER + "acme,view,t-1,03/04/2021 10:15\n" * 3
    shell.write("a.csv", content)

    for ran in (
        shell.call(INGEST, "a.csv", "--timestamp-format", "auto"),
        shell.call(INGEST, "-", "--timestamp-format", "auto", stdin=content.encode()),
    ):
        assert ran.code == 2
        assert "'03/04/2021 10:15' is 3 April 2021 (day first) or 4 March 2021 (mont" in ran.err
        assert "--timestamp-format '%d/%m/%Y %H:%M'" in ran.err
    assert tables.count() == 0


def test_rejected_rows_alone_are_not_read_by_a_pattern(shell: Shell, tables: Tables) -> None:
    for name in ("a", "b"):
        shell.write(f"{name}.csv.rejects.csv", "line,reason,row\n")

    ran = shell.call(INGEST, os.fspath(shell.folder / "*.csv"))

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("error: no other files are named\n")
    assert not tables.are_there()


def test_a_file_that_is_named_twice_is_read_once(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = shell.call(INGEST, "a.csv", "a.csv")

    assert (ran.code, untimed(ran.out).splitlines()[0]) == (0, "a.csv: 1 row read")
    assert tables.contents() == ONE
