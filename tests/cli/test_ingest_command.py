"""`ingest_events_from_file.py`: good files, options, output."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pty
import re
import shutil
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from tests.support.factories import Contents
from tests.support.shell import (
    HEADER,
    INGEST,
    ON_FULL_DISK,
    SAMPLE,
    Ran,
    Shell,
    free_port,
    needs_full_disk,
)
from tests.support.summaries import in_short, some_contents, some_lines, summary, untimed
from tests.support.tables import Tables, contents_of, rows_of

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
GOOD_LINES = ("acme,api_call,t-1,2021-03-01T10:00:00Z", "acme,search,t-2,2021-03-01T10:00:00Z")
BOTH_GOOD = contents_of([("acme", "api_call", "t-1", TEN), ("acme", "search", "t-2", TEN)])
BAD_ROW = "rejected line 3: has 2 columns, not 4\n"


@pytest.mark.slow  # 12,000 rows
def test_ingesting_the_sample_twice_counts_each_event_once(shell: Shell, tables: Tables) -> None:
    shutil.copy(SAMPLE, shell.folder / "events.csv")

    first = shell.call(INGEST, "events.csv")
    after_first = tables.contents()
    second = shell.call(INGEST, "events.csv")

    assert in_short(first) == Ran(0, summary("events.csv", inserted=5_700, duplicates=300), "")
    assert after_first == contents_of(rows_of(SAMPLE))
    assert in_short(second) == Ran(0, summary("events.csv", inserted=0, duplicates=6_000), "")
    assert tables.contents() == after_first
    assert shell.names() == ["events.csv"]


def test_json_is_the_only_text_on_standard_output(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv", "\n".join((HEADER.strip(), *GOOD_LINES, GOOD_LINES[0], "no,row", "")))

    ran = shell.call(INGEST, "a.csv", "--json")

    assert (ran.code, ran.err) == (1, "rejected line 5: has 2 columns, not 4\n")
    assert ran.out.count("\n") == 1
    answer = json.loads(ran.out)
    assert answer.pop("seconds") > 0
    assert answer.pop("rows_per_second") > 0
    assert answer == {
        "file": "a.csv",
        "is_dry_run": False,
        "is_complete": True,
        "read": 4,
        "inserted": 2,
        "duplicates": 1,
        "voided": 0,
        "rejected": 1,
        "rejects_file": "a.csv.rejects.csv",
        "ignored_columns": [],
    }
    assert tables.contents() == BOTH_GOOD


def test_a_dry_run_reads_all_rows_and_needs_no_store(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv", "\n".join((*GOOD_LINES, "no,row", "")))
    nowhere = {"DYNAMODB_ENDPOINT_URL": f"http://localhost:{free_port()}"}

    for settings in ({}, nowhere):
        ran = shell.call(INGEST, "a.csv", "--dry-run", settings=settings)

        assert in_short(ran) == Ran(
            1,
            "a.csv: 3 rows read, nothing stored (dry run)\n"
            "  valid                  2\n"
            "  rejected               1\n"
            "  rejected rows with line number and reason: a.csv.rejects.csv\n",
            BAD_ROW,
        )
    assert not tables.are_there()


@pytest.mark.slow
def test_header_order_gzip_and_workers_do_not_change_what_is_stored(
    shell: Shell, tables: Tables
) -> None:
    order = (3, 1, 0, 2)
    rows = [line.strip().split(",") for line in (HEADER, *some_lines(300))]
    rows[0] = [" Customer_ID", "EVENT_TYPE", "Transaction_id ", "timestamp"]
    shell.write("order.csv", "".join(",".join(row[i] for i in order) + "\n" for row in rows))
    shell.write("plain.csv", "".join(some_lines(300)))
    shell.write("a.csv.gz", gzip.compress((HEADER + "".join(some_lines(300))).encode()))
    expected = some_contents(shell, 300)
    new, again = len(expected.events), 300 - len(expected.events)

    ran = shell.call(INGEST, "order.csv", "--workers", "1")
    assert in_short(ran) == Ran(0, summary("order.csv", inserted=new, duplicates=again), "")
    assert tables.contents() == expected
    for name in ("plain.csv", "a.csv.gz"):
        ran = shell.call(INGEST, name, "--workers", "8")
        assert in_short(ran) == Ran(0, summary(name, inserted=0, duplicates=300), "")
    assert tables.contents() == expected


def test_eight_workers_store_the_same_as_one(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv", "".join(some_lines(300)))

    assert shell.call(INGEST, "a.csv", "--workers", "8").code == 0
    assert tables.contents() == some_contents(shell, 300)


@pytest.mark.parametrize("is_gzip", [False, True])
def test_standard_input_is_read_to_its_end(shell: Shell, tables: Tables, *, is_gzip: bool) -> None:
    content = "\n".join((HEADER.strip(), *GOOD_LINES, "no,row", "")).encode()

    ran = shell.call(INGEST, "-", stdin=gzip.compress(content) if is_gzip else content)

    assert in_short(ran) == Ran(
        1,
        summary(
            "standard input", inserted=2, duplicates=0, rejected=1, rejects="stdin.rejects.csv"
        ),
        "rejected line 4: has 2 columns, not 4\n",
    )
    assert shell.read("stdin.rejects.csv") == (
        'line,reason,row\n4,"has 2 columns, not 4","no,row"\n'
    )
    assert tables.contents() == BOTH_GOOD


def test_timestamps_without_an_offset_are_read_in_the_named_zone(
    shell: Shell, tables: Tables
) -> None:
    shell.write(
        "a.csv",
        "acme,e,winter,2021-03-01T10:00:00\n"
        "acme,e,summer,2021-07-01T10:00:00\n"
        "acme,e,named,2021-07-01T10:00:00Z\n"
        "acme,e,twice,2021-10-31T02:30:00\n"
        "acme,e,never,2021-03-28T02:30:00\n",
    )

    ran = shell.call(INGEST, "a.csv", "--assume-timezone", "Europe/Berlin")

    assert in_short(ran)[:2] == (1, summary("a.csv", inserted=3, duplicates=0, rejected=2))
    twice, never = ran.err.splitlines()
    assert twice.startswith("rejected line 4: timestamp: 2021-10-31 02:30:00 occurs twice in ")
    assert never.startswith("rejected line 5: timestamp: 2021-03-28 02:30:00 does not exist in ")
    ran = shell.call(
        *(INGEST, "a.csv", "--assume-timezone", "Europe/Berlin", "--ambiguous-hour", "first")
    )
    assert in_short(ran)[:2] == (1, summary("a.csv", inserted=1, duplicates=3, rejected=1))
    assert tables.contents() == contents_of(
        [
            ("acme", "e", "winter", datetime(2021, 3, 1, 9, tzinfo=UTC)),
            ("acme", "e", "summer", datetime(2021, 7, 1, 8, tzinfo=UTC)),
            ("acme", "e", "named", datetime(2021, 7, 1, 10, tzinfo=UTC)),
            ("acme", "e", "twice", datetime(2021, 10, 31, 0, 30, tzinfo=UTC)),
        ]
    )


def test_every_id_is_kept_to_the_byte(shell: Shell, tables: Tables) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    ids = [
        (composed, "e", "t"),
        (decomposed, "e", "t"),
        ("Acme", "e", "t"),
        ("acme", "e", "t"),
        ("a/b c?d#e", "x/y", "1/2"),
        ("100%", "50%-off", "%2D"),
        ("100%", "50%", "off-%2D"),
        ("顧客", "🛒", "–"),
        ('say "hi", all', "e,f", "#t"),
        ("a" * 2_048, "e", "t" * 994),
        ("long", "-" * 331, "t"),
    ]
    text = io.StringIO()
    csv.writer(text).writerows((*names, "2021-03-01T10:00:00Z") for names in ids)
    shell.write("a.csv", text.getvalue())

    ran = shell.call(INGEST, "a.csv")

    assert in_short(ran) == Ran(0, summary("a.csv", inserted=len(ids), duplicates=0), "")
    assert tables.contents() == contents_of([(*names, TEN) for names in ids])


def test_a_byte_order_mark_is_not_part_of_an_id(shell: Shell, tables: Tables) -> None:
    mark = "\N{ZERO WIDTH NO-BREAK SPACE}"
    shell.write("with.csv", "\n".join((mark + HEADER.strip(), *GOOD_LINES)))
    shell.write("without.csv", "\n".join((mark + GOOD_LINES[0], GOOD_LINES[1])))

    with_header = shell.call(INGEST, "with.csv")
    without_header = shell.call(INGEST, "without.csv")

    assert in_short(with_header) == Ran(0, summary("with.csv", inserted=2, duplicates=0), "")
    assert in_short(without_header) == Ran(0, summary("without.csv", inserted=0, duplicates=2), "")
    assert tables.contents() == BOTH_GOOD


def test_a_file_without_rows_is_a_run_of_zero_rows(shell: Shell, tables: Tables) -> None:
    for content in ("", HEADER, HEADER.strip(), "\n\n"):
        shell.write("a.csv", content)
        ran = shell.call(INGEST, "a.csv")
        assert in_short(ran) == Ran(0, summary("a.csv", inserted=0, duplicates=0), "")
    assert tables.contents() == Contents([], {}, [])


# --- real processes -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_terminal_shows_progress_with_rate_and_remaining_time(shell: Shell) -> None:
    shell.write("events.csv", "".join(some_lines(3_000)))
    total = len(some_contents(shell, 3_000).events)
    master, slave = pty.openpty()
    try:
        command = shell.start(
            INGEST, "events.csv", terminal=slave, settings={"TERM": "xterm", "COLUMNS": "200"}
        )
        os.close(slave)
        seen = b""
        with suppress(OSError):  # how Linux reports that the other side is closed
            while block := os.read(master, 65_536):
                seen += block
    finally:
        os.close(master)
    ran = command.ended()

    assert untimed(ran.out) == summary("events.csv", inserted=total, duplicates=3_000 - total)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    shown = re.findall(
        r" ([0-9]+)% [0-9:-]+ +[0-9,]+ rows at [0-9,]+/s, ([0-9,]+) inserted, [0-9,]+ duplicates, "
        r"0 rejected",
        text,
    )
    inserted = [int(number.replace(",", "")) for _, number in shown]
    assert any(0 < number < total for number in inserted), text
    assert inserted == sorted(inserted)
    # The bar is erased, and the cursor is visible again, before the summary comes.
    assert seen.rstrip().endswith(b"\x1b[2K")
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")


def test_dot_env_sets_what_the_environment_does_not(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv", "\n".join(GOOD_LINES))
    url = shell.settings["DYNAMODB_ENDPOINT_URL"]
    shell.settings = {"DYNAMODB_EVENTS_TABLE_NAME": tables.name}
    shell.write(".env", f"DYNAMODB_EVENTS_TABLE_NAME=other\nDYNAMODB_ENDPOINT_URL={url}\n")

    ran = shell.run(INGEST, "a.csv")

    assert in_short(ran) == Ran(0, summary("a.csv", inserted=2, duplicates=0), "")
    assert tables.contents() == BOTH_GOOD


@needs_full_disk
@pytest.mark.parametrize(("options", "unbuffered"), [((), ""), (("--json",), "1")])
def test_a_summary_on_a_full_disk_is_an_error(
    shell: Shell, tables: Tables, options: tuple[str, ...], unbuffered: str
) -> None:
    shell.write("a.csv", "\n".join(GOOD_LINES))
    settings = {"PYTHONUNBUFFERED": unbuffered}

    ran = shell.run("-c", ON_FULL_DISK, INGEST, "a.csv", *options, settings=settings)

    assert ran == Ran(
        2,
        "",
        "error: cannot write to standard output: No space left on device. Run again to see the "
        "summary, which is safe\n",
    )
    assert tables.contents() == BOTH_GOOD


HEAVY = {"boto3", "botocore", "fastapi", "pydantic", "prometheus_client", "confluent_kafka"}


@pytest.mark.parametrize("program", ["events.cli.main", "ingest_events_from_file"])
def test_help_imports_nothing_heavy(shell: Shell, program: str) -> None:
    script = (
        f"import sys; from {program} import main; main(['--help']); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    ran = shell.run("-c", script)

    assert (ran.code, ran.err) == (0, "")
    assert "--help" in ran.out
    assert HEAVY & set(ran.out.splitlines()[-1].split()) == set()
