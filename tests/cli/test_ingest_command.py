"""`ingest_events_from_file.py`, run as a user runs it, on a real DynamoDB Local."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pty
import re
import shutil
import time
import unicodedata
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

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
from tests.support.tables import Contents, Tables, contents_of, rows_of

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
GOOD_LINES = ("acme,api_call,t-1,2021-03-01T10:00:00Z", "acme,search,t-2,2021-03-01T10:00:00Z")
BOTH_GOOD = contents_of([("acme", "api_call", "t-1", TEN), ("acme", "search", "t-2", TEN)])
NOTHING = Contents([], {}, [])
LIKE = "write it like 2021-03-01T00:10:05.657Z"
COLUMNS_ARE = "the columns are customer_id,event_type,transaction_id,timestamp"
AGAIN = "The rows before it stay stored: fetch the file again and run again, that is safe."
IN_NO_QUOTES = "has a quote in a cell that is not quoted: quote the cell and double the quote"
USAGE = "usage: ingest_events_from_file.py "


def ingest(shell: Shell, *arguments: str | Path, **how: Any) -> Ran:
    return shell.run(INGEST, *arguments, **how)


def untimed(text: str) -> str:
    """A summary without the only part that differs from run to run."""
    return re.sub(r" read in [0-9,]+\.[0-9] s \([0-9,]+ rows/s\)", " read", text)


def summary(
    file: str, *, inserted: int, duplicates: int, rejected: int = 0, rejects: str = ""
) -> str:
    """What a whole run prints, but for the time it took."""
    lines = [
        f"{file}: {inserted + duplicates + rejected:,} rows read",
        f"  inserted   {inserted:>13,}",
        f"  duplicates {duplicates:>13,}",
        f"  rejected   {rejected:>13,}",
    ]
    if rejected:
        lines.append(f"  rejected rows with line and reason: {rejects or f'{file}.rejects.csv'}")
    return "\n".join(lines) + "\n"


def in_short(ran: Ran) -> Ran:
    return ran._replace(out=untimed(ran.out))


def rejects_in(shell: Shell, name: str) -> list[list[str]]:
    with (shell.folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def some_lines(number: int) -> list[str]:
    """The first rows of the sample, without the header."""
    return SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)[1 : number + 1]


def some_contents(shell: Shell, number: int) -> Contents:
    path = shell.folder.with_name("expected.csv")
    path.write_text(HEADER + "".join(some_lines(number)), encoding="utf-8")
    return contents_of(rows_of(path))


# --- good files -----------------------------------------------------------------------------------


def test_the_sample_is_stored_and_counted_as_an_independent_count_says_and_again_changes_nothing(
    shell: Shell, tables: Tables
) -> None:
    shutil.copy(SAMPLE, shell.folder / "events.csv")

    first = ingest(shell, "events.csv")
    after_first = tables.contents()
    second = ingest(shell, "events.csv")

    assert in_short(first) == Ran(0, summary("events.csv", inserted=5_700, duplicates=300), "")
    assert after_first == contents_of(rows_of(SAMPLE))
    assert in_short(second) == Ran(0, summary("events.csv", inserted=0, duplicates=6_000), "")
    assert tables.contents() == after_first
    assert not shell.has("events.csv.rejects.csv")


def test_json_is_all_that_comes_on_standard_output(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv", "\n".join((HEADER.strip(), *GOOD_LINES, GOOD_LINES[0], "no,row", "")))

    ran = ingest(shell, "a.csv", "--json")

    assert (ran.code, ran.err) == (1, "rejected line 5: has 2 columns, not 4\n")
    assert ran.out.count("\n") == 1
    said = json.loads(ran.out)
    assert 0 < said.pop("seconds") < 60
    assert 0 < said.pop("rows_per_second") < 10_000
    assert said == {
        "file": "a.csv",
        "is_dry_run": False,
        "is_complete": True,
        "read": 4,
        "inserted": 2,
        "duplicates": 1,
        "voided": 0,
        "rejected": 1,
        "rejects_file": "a.csv.rejects.csv",
    }
    assert tables.contents() == BOTH_GOOD


def test_a_dry_run_reads_all_stores_nothing_and_needs_no_store(
    shell: Shell, tables: Tables
) -> None:
    shell.write("a.csv", "\n".join((*GOOD_LINES, "no,row", "")))
    nobody = {"DYNAMODB_ENDPOINT_URL": f"http://localhost:{free_port()}"}

    here = ingest(shell, "a.csv", "--dry-run")
    nowhere = ingest(shell, "a.csv", "--dry-run", settings=nobody)

    expected = Ran(
        1,
        "a.csv: 3 rows read, nothing stored (dry run)\n"
        "  valid                  2\n"
        "  rejected               1\n"
        "  rejected rows with line and reason: a.csv.rejects.csv\n",
        "rejected line 3: has 2 columns, not 4\n",
    )
    assert in_short(here) == expected
    assert in_short(nowhere) == expected
    assert not tables.are_there()


def test_a_header_in_another_order_and_spelling_is_understood(shell: Shell, tables: Tables) -> None:
    order = (3, 1, 0, 2)
    rows = [line.strip().split(",") for line in (HEADER, *some_lines(400))]
    rows[0] = [" Customer_ID", "EVENT_TYPE", "Transaction_id ", "timestamp"]
    shell.write("a.csv", "".join(",".join(row[i] for i in order) + "\n" for row in rows))

    ran = ingest(shell, "a.csv")

    assert (ran.code, ran.err) == (0, "")
    assert tables.contents() == some_contents(shell, 400)


def test_without_a_header_the_columns_are_in_the_usual_order(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv", "".join(some_lines(400)))

    ran = ingest(shell, "a.csv")

    assert (ran.code, ran.err) == (0, "")
    assert tables.contents() == some_contents(shell, 400)


def test_gzip_is_read_as_it_is(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv.gz", gzip.compress((HEADER + "".join(some_lines(400))).encode()))

    ran = ingest(shell, "a.csv.gz")

    assert (ran.code, ran.err) == (0, "")
    assert untimed(ran.out).startswith("a.csv.gz: 400 rows read\n")
    assert tables.contents() == some_contents(shell, 400)


@pytest.mark.parametrize("is_gzip", [False, True])
def test_standard_input_is_read_to_its_end(shell: Shell, tables: Tables, *, is_gzip: bool) -> None:
    content = "\n".join((HEADER.strip(), *GOOD_LINES, "no,row", "")).encode()

    ran = ingest(shell, "-", stdin=gzip.compress(content) if is_gzip else content)

    assert in_short(ran) == Ran(
        1,
        summary(
            "standard input", inserted=2, duplicates=0, rejected=1, rejects="stdin.rejects.csv"
        ),
        "rejected line 4: has 2 columns, not 4\n",
    )
    assert rejects_in(shell, "stdin.rejects.csv") == [
        ["line", "reason", "row"],
        ["4", "has 2 columns, not 4", "no,row"],
    ]
    assert tables.contents() == BOTH_GOOD


def test_timestamps_without_an_offset_are_read_in_the_zone_that_is_named(
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

    ran = ingest(shell, "a.csv", "--assume-timezone", "Europe/Berlin")

    assert in_short(ran) == Ran(
        1,
        summary("a.csv", inserted=4, duplicates=0, rejected=1),
        "rejected line 5: timestamp: 2021-03-28 02:30:00 does not exist in Europe/Berlin: the "
        "clocks were set forward\n",
    )
    assert tables.contents() == contents_of(
        [
            ("acme", "e", "winter", datetime(2021, 3, 1, 9, tzinfo=UTC)),
            ("acme", "e", "summer", datetime(2021, 7, 1, 8, tzinfo=UTC)),
            ("acme", "e", "named", datetime(2021, 7, 1, 10, tzinfo=UTC)),
            ("acme", "e", "twice", datetime(2021, 10, 31, 0, 30, tzinfo=UTC)),
        ]
    )


def test_free_form_timestamps_are_read_where_that_is_asked_for(
    shell: Shell, tables: Tables
) -> None:
    shell.write(
        "a.csv",
        "acme,api_call,t-1,March 1 2021 10:00 UTC\n"
        'acme,search,t-2,"Mon, 1 Mar 2021 11:00:00 +0100"\n'
        "acme,search,t-3,10\n"
        "acme,search,t-4,March 1 2021 10:00\n"
        "acme,search,t-5,yesterday\n",
    )

    strict = ingest(shell, "a.csv")
    lenient = ingest(shell, "a.csv", "--lenient-timestamps")

    assert strict.code == 1
    assert untimed(strict.out) == summary("a.csv", inserted=0, duplicates=0, rejected=5)
    assert in_short(lenient) == Ran(
        1,
        summary("a.csv", inserted=2, duplicates=0, rejected=3),
        "rejected line 3: timestamp: '10' does not name a whole date\n"
        "rejected line 4: timestamp: has no offset: add Z or +00:00, or name the zone to assume\n"
        "rejected line 5: timestamp: 'yesterday' cannot be read as a time: Unknown string format: "
        "yesterday\n",
    )
    assert tables.contents() == BOTH_GOOD


@pytest.mark.parametrize("workers", ["1", "8"])
def test_any_number_of_workers_stores_the_same(shell: Shell, tables: Tables, workers: str) -> None:
    shell.write("a.csv", "".join(some_lines(900)))

    ran = ingest(shell, "a.csv", "--workers", workers)

    expected = some_contents(shell, 900)
    inserted = len(expected.events)
    assert in_short(ran) == Ran(
        0, summary("a.csv", inserted=inserted, duplicates=900 - inserted), ""
    )
    assert tables.contents() == expected


def test_a_terminal_shows_how_far_it_is(shell: Shell) -> None:
    # Long enough to be waited for: nobody should look at a still screen.
    shutil.copy(SAMPLE, shell.folder / "events.csv")
    master, slave = pty.openpty()
    try:
        command = shell.start(INGEST, "events.csv", terminal=slave)
        os.close(slave)
        seen = b""
        with suppress(OSError):  # Linux says so when the other side is closed
            while block := os.read(master, 65_536):
                seen += block
    finally:
        os.close(master)
    ran = command.ended()

    assert untimed(ran.out) == summary("events.csv", inserted=5_700, duplicates=300)
    text = seen.decode()
    shown = re.findall(
        r"\r\x1b\[K *([0-9]+)%  [0-9,]+ s left  ([0-9,]+) rows read, ([0-9,]+) inserted, "
        r"([0-9,]+) duplicates, 0 rejected",
        text,
    )
    inserted = [int(each[2].replace(",", "")) for each in shown]
    assert any(0 < each < 5_700 for each in inserted), text
    assert inserted == sorted(inserted)
    # The line is gone before the summary comes.
    assert text.endswith("\r\x1b[K")


# --- rejected rows --------------------------------------------------------------------------------


def test_the_rejects_file_is_exact_replaced_by_the_next_run_and_gone_when_all_is_well(
    shell: Shell, tables: Tables
) -> None:
    bad = [f"acme,e,t-{number},10" for number in range(1, 7)]
    shell.write("a.csv", "\n".join((HEADER.strip(), "", *bad[:3], *GOOD_LINES, *bad[3:])) + "\n")
    first = ingest(shell, "a.csv")
    after_first = shell.read("a.csv.rejects.csv")
    shell.write("a.csv", "\r\n".join((*GOOD_LINES, 'acme,"e",t-7,"1,0"')))
    second = ingest(shell, "a.csv")
    after_second = shell.read("a.csv.rejects.csv")
    shell.write("a.csv", "\n".join(GOOD_LINES))
    third = ingest(shell, "a.csv")

    reason = f"timestamp: '10' is not a date and time; {LIKE}"
    lines = (3, 4, 5, 8, 9, 10)
    assert in_short(first) == Ran(
        1,
        summary("a.csv", inserted=2, duplicates=0, rejected=6),
        "".join(f"rejected line {line}: {reason}\n" for line in lines[:5])
        + "rejected more lines: all are in a.csv.rejects.csv\n",
    )
    assert after_first == "line,reason,row\n" + "".join(
        f'{line},{reason},"{row}"\n' for line, row in zip(lines, bad, strict=True)
    )
    assert second.code == 1
    assert after_second == (
        "line,reason,row\n"
        f"3,\"timestamp: '1,0' is not a date and time; {LIKE}\","
        '"acme,""e"",t-7,""1,0"""\n'
    )
    assert in_short(third) == Ran(0, summary("a.csv", inserted=0, duplicates=2), "")
    assert not shell.has("a.csv.rejects.csv")
    assert tables.contents() == BOTH_GOOD


def test_rejects_go_where_they_are_told_to(shell: Shell) -> None:
    shell.write("a.csv", "\n".join((*GOOD_LINES, "no,row", "")))

    ran = ingest(shell, "a.csv", "--rejects", "bad rows.csv")

    assert in_short(ran) == Ran(
        1,
        summary("a.csv", inserted=2, duplicates=0, rejected=1, rejects="bad rows.csv"),
        "rejected line 3: has 2 columns, not 4\n",
    )
    assert rejects_in(shell, "bad rows.csv") == [
        ["line", "reason", "row"],
        ["3", "has 2 columns, not 4", "no,row"],
    ]
    assert not shell.has("a.csv.rejects.csv")


@pytest.mark.parametrize("place", ["missing/rejects.csv", "."])
def test_rejects_that_cannot_be_written_are_said_before_anything_is_stored(
    shell: Shell, tables: Tables, place: str
) -> None:
    shell.write("a.csv", "\n".join(GOOD_LINES))

    ran = ingest(shell, "a.csv", "--rejects", place)

    why = {"missing/rejects.csv": "No such file or directory", ".": "Is a directory"}[place]
    assert ran == Ran(
        2,
        "",
        f"error: {place}: the file for rejected rows cannot be written ({why}): name another with "
        "--rejects\n",
    )
    assert tables.count() == 0


def test_the_input_is_not_taken_for_the_rejects_file(shell: Shell, tables: Tables) -> None:
    content = "\n".join((*GOOD_LINES, "no,row", ""))
    shell.write("a.csv", content)

    ran = ingest(shell, "a.csv", "--rejects", "./a.csv")

    assert (ran.code, ran.out) == (2, "")
    assert "--rejects" in ran.err
    assert shell.read("a.csv") == content
    assert tables.count() == 0


def test_a_full_disk_under_the_rejects_file_is_said_in_words(shell: Shell) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full here")
    (shell.folder / "full.csv").symlink_to("/dev/full")
    shell.write("a.csv", "\n".join((*GOOD_LINES, "no,row", "")))

    ran = ingest(shell, "a.csv", "--rejects", "full.csv")

    assert ran.code == 2
    assert ran.err.startswith("rejected line 3: has 2 columns, not 4\nerror: full.csv: ")
    assert untimed(ran.out).startswith("a.csv: 3 rows read\n")


# --- the catalogue of bad rows --------------------------------------------------------------------

BAD_ROWS = {
    "a stray quote": (
        b'"acme,e,t,2021-03-01T10:00:00Z',
        "opens a quote that does not close on the same line",
    ),
    "text after a quote": (
        b'"ac"me,e,t,2021-03-01T10:00:00Z',
        "has text after a closing quote: double a quote inside quotes",
    ),
    "a quote inside a cell": (b'acme,19" rack,t,2021-03-01T10:00:00Z', IN_NO_QUOTES),
    "a NUL byte": (
        b"ac\0me,e,t,2021-03-01T10:00:00Z",
        "customer_id: has the control character U+0000 at position 3",
    ),
    "a NUL byte in the timestamp": (
        b"acme,e,t,2021-03-01\x0010:00:00Z",
        rf"timestamp: '2021-03-01\x0010:00:00Z' has characters that no timestamp has; {LIKE}",
    ),
    "five columns": (b"acme,e,t,2021-03-01T10:00:00Z,9", "has 5 columns, not 4"),
    "three columns": (b"acme,e,t", "has 3 columns, not 4"),
    "semicolons": (
        b"acme;e;t;2021-03-01T10:00:00Z",
        "has 1 column, not 4: separate them by commas",
    ),
    "a key of 1,025 bytes": (
        b"acme,e,%b,2021-03-01T10:00:00Z" % (b"t" * 995),
        "transaction_id: has 995 bytes of UTF-8, but only 994 are left in the 1,024-byte key "
        "beside this event_type",
    ),
    "a type that fills the key": (
        b"acme,%b,t,2021-03-01T10:00:00Z" % (b"-" * 332),
        "event_type: takes 996 bytes of the key (% and - take three each), more than 994",
    ),
    "a customer of 2,049 bytes": (
        b"%b,e,t,2021-03-01T10:00:00Z" % (b"a" * 2_049),
        "customer_id: has 2,049 bytes of UTF-8, more than 2,048",
    ),
    "a line of 10 MB": (b"x" * 10_000_000, "has 10,000,000 bytes, more than 65,536"),
    "no UTF-8": (
        b"acme,na\xefve,t,2021-03-01T10:00:00Z",
        "event_type: is not valid UTF-8 at position 3",
    ),
    "no offset": (
        b"acme,e,t,2021-03-01T10:00:00",
        "timestamp: has no offset: add Z or +00:00, or name the zone to assume",
    ),
    "a space for the plus": (
        b"acme,e,t,2021-03-01T10:00:00 00:00",
        "timestamp: '2021-03-01T10:00:00 00:00' has a space where the sign of the offset should "
        "be; write + as it is",
    ),
    "a leap second": (
        b"acme,e,t,2016-12-31T23:59:60Z",
        "timestamp: '2016-12-31T23:59:60Z' is a leap second, which UTC datetimes cannot hold: "
        "send second 59",
    ),
    "30 February": (
        b"acme,e,t,2021-02-30T10:00:00Z",
        "timestamp: '2021-02-30T10:00:00Z' is no date and time of the calendar: day is out of "
        "range for month",
    ),
    "year 0000": (
        b"acme,e,t,0000-03-01T10:00:00Z",
        "timestamp: is outside the years 0001 to 9999",
    ),
    "year 10000 in UTC": (
        b"acme,e,t,9999-12-31T23:59:59-01:00",
        "timestamp: is outside the years 0001 to 9999 in UTC",
    ),
    "a bare number": (b"acme,e,t,10", f"timestamp: '10' is not a date and time; {LIKE}"),
    "a date alone": (
        b"acme,e,t,2021-03-01",
        f"timestamp: '2021-03-01' has no time of day; {LIKE}",
    ),
    "no customer": (b",e,t,2021-03-01T10:00:00Z", "customer_id: is empty"),
    "no type": (b"acme,,t,2021-03-01T10:00:00Z", "event_type: is empty"),
    "no transaction": (b"acme,e,,2021-03-01T10:00:00Z", "transaction_id: is empty"),
    "no timestamp": (b"acme,e,t,", "timestamp: is empty"),
    "white space at the end": (
        b"acme ,e,t,2021-03-01T10:00:00Z",
        "customer_id: has white space at its start or end",
    ),
    "white space at the start": (
        b"acme,e, t,2021-03-01T10:00:00Z",
        "transaction_id: has white space at its start or end",
    ),
    "a carriage return inside": (
        b"acme,e\r,t,2021-03-01T10:00:00Z",
        r"has a carriage return (\r) inside: end lines by \n or \r\n",
    ),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_named_with_its_line_and_reason_and_costs_no_other(
    shell: Shell, tables: Tables, name: str
) -> None:
    raw, reason = BAD_ROWS[name]
    before, after = (line.encode() for line in GOOD_LINES)
    shell.write("a.csv", b"\n".join((HEADER.strip().encode(), before, raw, after, b"")))

    ran = ingest(shell, "a.csv")

    assert in_short(ran) == Ran(
        1,
        summary("a.csv", inserted=2, duplicates=0, rejected=1),
        f"rejected line 3: {reason}\n",
    )
    assert rejects_in(shell, "a.csv.rejects.csv") == [
        ["line", "reason", "row"],
        ["3", reason, raw.decode("utf-8", "backslashreplace")[:1_000]],
    ]
    assert tables.contents() == BOTH_GOOD


def test_a_line_break_inside_quotes_costs_its_own_two_lines(shell: Shell, tables: Tables) -> None:
    broken = ('acme,e,"t', '3",2021-03-01T10:00:00Z')
    shell.write("a.csv", "\n".join((HEADER.strip(), GOOD_LINES[0], *broken, GOOD_LINES[1])))

    ran = ingest(shell, "a.csv")

    reasons = (
        "opens a quote that does not close on the same line",
        IN_NO_QUOTES,
    )
    assert in_short(ran) == Ran(
        1,
        summary("a.csv", inserted=2, duplicates=0, rejected=2),
        f"rejected line 3: {reasons[0]}\nrejected line 4: {reasons[1]}\n",
    )
    assert rejects_in(shell, "a.csv.rejects.csv")[1:] == [
        ["3", reasons[0], broken[0]],
        ["4", reasons[1], broken[1]],
    ]
    assert tables.contents() == BOTH_GOOD


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
    csv.writer(text).writerows((*each, "2021-03-01T10:00:00Z") for each in ids)
    shell.write("a.csv", text.getvalue())

    ran = ingest(shell, "a.csv")

    assert in_short(ran) == Ran(0, summary("a.csv", inserted=len(ids), duplicates=0), "")
    assert tables.contents() == contents_of([(*each, TEN) for each in ids])


def test_a_byte_order_mark_belongs_to_no_id(shell: Shell, tables: Tables) -> None:
    mark = "\N{ZERO WIDTH NO-BREAK SPACE}"
    shell.write("with.csv", "\n".join((mark + HEADER.strip(), *GOOD_LINES)))
    shell.write("without.csv", "\n".join((mark + GOOD_LINES[0], GOOD_LINES[1])))

    with_header = ingest(shell, "with.csv")
    without_header = ingest(shell, "without.csv")

    assert in_short(with_header) == Ran(0, summary("with.csv", inserted=2, duplicates=0), "")
    assert in_short(without_header) == Ran(0, summary("without.csv", inserted=0, duplicates=2), "")
    assert tables.contents() == BOTH_GOOD


@pytest.mark.parametrize("content", ["", HEADER, HEADER.strip(), "\n\n"])
def test_a_file_without_rows_is_a_run_of_zero_rows(
    shell: Shell, tables: Tables, content: str
) -> None:
    shell.write("a.csv", content)

    ran = ingest(shell, "a.csv")

    assert in_short(ran) == Ran(0, summary("a.csv", inserted=0, duplicates=0), "")
    assert tables.contents() == NOTHING


# --- inputs that cannot be used -------------------------------------------------------------------

ROW = GOOD_LINES[0] + "\n"
BAD_INPUTS: dict[str, tuple[str | bytes, str]] = {
    "a column is missing": (
        "customer_id,event_type,transaction_id\n" + ROW,
        f", line 1: the header lacks 'timestamp'; {COLUMNS_ARE}",
    ),
    "a column is unknown": (
        "customer_id,event_type,transaction_id,timestamp,price\n" + ROW,
        f", line 1: the header does not know 'price'; {COLUMNS_ARE}",
    ),
    "a column is spelt otherwise": (
        "\ncustomer,event_type,transaction_id,timestamp\n" + ROW,
        ", line 2: the header lacks 'customer_id' and does not know 'customer'; " + COLUMNS_ARE,
    ),
    "a column is there twice": (
        "customer_id,event_type,event_type,timestamp\n" + ROW,
        f", line 1: the header lacks 'transaction_id' and repeats 'event_type'; {COLUMNS_ARE}",
    ),
    "semicolons": (
        (HEADER + ROW).replace(",", ";"),
        ", line 1: the columns are separated by ';': separate them by commas",
    ),
    "tabs": (
        (HEADER + ROW).replace(",", "\t"),
        r", line 1: the columns are separated by '\t': separate them by commas",
    ),
    "UTF-16": ((HEADER + ROW).encode("utf-16"), ": is UTF-16: save it as UTF-8"),
    "a spreadsheet": (
        b"PK\x03\x04\x14\x00\x06\x00",
        ": is a zip archive or a spreadsheet (.xlsx): save it as CSV",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_an_input_that_is_no_csv_of_events_is_refused_and_nothing_is_stored(
    shell: Shell, tables: Tables, name: str
) -> None:
    content, message = BAD_INPUTS[name]
    shell.write("a.csv", content)

    ran = ingest(shell, "a.csv")

    assert ran == Ran(2, "", f"error: a.csv{message}\n")
    assert tables.count() == 0
    assert not shell.has("a.csv.rejects.csv")


def test_a_name_in_gz_without_gzip_in_it_is_refused(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv.gz", HEADER + ROW)

    ran = ingest(shell, "a.csv.gz")

    assert ran == Ran(2, "", "error: a.csv.gz: is named .gz but holds no gzip data: rename it\n")
    assert tables.count() == 0


def test_a_file_that_is_not_there_a_directory_and_one_that_may_not_be_read_are_named(
    shell: Shell, tables: Tables
) -> None:
    missing = ingest(shell, "a.csv")
    directory = ingest(shell, ".")

    assert missing == Ran(2, "", "error: a.csv: there is no such file\n")
    assert directory == Ran(2, "", "error: .: is a directory: name a file in it\n")
    assert list(shell.folder.iterdir()) == []
    assert not tables.are_there()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_named(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW).chmod(0)

    ran = ingest(shell, "a.csv")

    assert ran == Ran(2, "", "error: a.csv: may not be read by this user: change its permissions\n")


def test_gzip_that_is_cut_off_stores_the_whole_lines_before_the_cut(
    shell: Shell, tables: Tables
) -> None:
    whole = gzip.compress((HEADER + "".join(some_lines(1_200))).encode())
    cut = whole[: len(whole) // 2]
    lines = zlib.decompressobj(wbits=31).decompress(cut).count(b"\n")
    shell.write("a.csv.gz", cut)

    ran = ingest(shell, "a.csv.gz")

    expected = some_contents(shell, lines - 1)
    inserted = len(expected.events)
    assert 500 < lines < 800
    assert in_short(ran) == Ran(
        2,
        summary("a.csv.gz", inserted=inserted, duplicates=lines - 1 - inserted),
        f"error: a.csv.gz: the gzip data is cut off after line {lines}. {AGAIN}\n",
    )
    assert tables.contents() == expected


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("checksum", "CRC check failed"),
        ("data", "Error -3 while decompressing data: invalid block type"),
        ("trailer", "Not a gzipped file (b'??')"),
    ],
)
def test_gzip_that_is_damaged_says_where_and_that_rows_may_be_wrong(
    shell: Shell, tables: Tables, damage: str, why: str
) -> None:
    content = gzip.compress((HEADER + "\n".join(GOOD_LINES) + "\n").encode())
    damaged = {
        "checksum": content[:-8] + b"\0" * 4 + content[-4:],
        # A second member, whose first block is of a type that there is not.
        "data": content + content[:10] + b"\x07" + b"\0" * 20,
        "trailer": content + b"????????",
    }
    shell.write("a.csv.gz", damaged[damage])

    ran = ingest(shell, "a.csv.gz")

    assert (ran.code, untimed(ran.out)) == (2, summary("a.csv.gz", inserted=2, duplicates=0))
    assert ran.err.startswith(
        "error: a.csv.gz: the gzip data is damaged after line 3, and rows before it may be wrong: "
        + why
    )
    assert ran.err.endswith(f". {AGAIN}\n")
    assert tables.contents() == BOTH_GOOD


ELSEWHERE = {
    "DYNAMODB_ENDPOINT_URL": "http://db.invalid:9000",
    "AWS_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}

# --- the command line, the settings, the store ----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.csv", "--workers", "0"), "argument --workers: '0': give a whole number from 1 to 64"),
        (("a.csv", "--workers", "x"), "argument --workers: 'x': give a whole number from 1 to 64"),
        (("a.csv", "--quick"), "unrecognized arguments: --quick"),
        ((), "the following arguments are required: FILE"),
    ],
)
def test_a_command_line_that_is_wrong_gets_the_usage(
    shell: Shell, tables: Tables, arguments: tuple[str, ...], message: str
) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = ingest(shell, *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(USAGE)
    assert ran.err.splitlines()[-1] == f"ingest_events_from_file.py: error: {message}"
    assert not tables.are_there()


def test_help_names_every_option_and_exit_code(shell: Shell) -> None:
    ran = ingest(shell, "--help")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(USAGE)
    options = re.findall(r"^  (--[a-z-]+|FILE)", ran.out, re.MULTILINE)
    assert options == [
        "FILE",
        "--dry-run",
        "--json",
        "--rejects",
        "--assume-timezone",
        "--lenient-timestamps",
        "--workers",
    ]
    assert "Exit code: 0 all" in ran.out


def test_a_time_zone_that_there_is_not_is_named(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = ingest(shell, "a.csv", "--assume-timezone", "Mars/Base")

    assert ran == Ran(
        2,
        "",
        "error: no time zone is named 'Mars/Base': use an IANA name such as Europe/Berlin or UTC\n",
    )
    assert not tables.are_there()


def test_a_store_that_nobody_started_is_said_soon_with_how_to_start_one(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)
    port = free_port()
    begin = time.monotonic()

    ran = ingest(shell, "a.csv", settings={"DYNAMODB_ENDPOINT_URL": f"http://localhost:{port}"})

    assert time.monotonic() - begin < 10
    assert (ran.code, ran.out) == (2, "")
    # The command must start one where this run looked for it.
    assert ran.err == (
        f"error: the store at http://localhost:{port} did not answer in time "
        "(EndpointConnectionError). Start one on this machine with: python -m events local "
        f"--port {port}\n"
    )
    assert not shell.has("a.csv.rejects.csv")


def test_a_store_elsewhere_is_not_to_be_started_here(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = ingest(shell, "a.csv", settings={**ELSEWHERE, **CREDENTIALS})

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: the store at http://db.invalid:9000 did not answer in time")
    assert "python -m events local" not in ran.err


def test_a_store_elsewhere_without_credentials_is_said_in_words(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = ingest(shell, "a.csv", settings={**ELSEWHERE, "HOME": str(shell.folder)})

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    # Nobody refused anything: nothing was sent.
    assert "refused" not in ran.err
    assert "credentials" in ran.err


def test_json_comes_with_an_error_too(shell: Shell) -> None:
    shell.write("a.csv", "customer_id,event_type,transaction_id\n" + ROW)

    ran = ingest(shell, "a.csv", "--json")

    assert ran.code == 2
    assert ran.err == f"error: a.csv, line 1: the header lacks 'timestamp'; {COLUMNS_ARE}\n"
    assert ran.out.count("\n") == 1
    said = json.loads(ran.out)
    said.pop("seconds")
    assert said == {
        "file": "a.csv",
        "is_dry_run": False,
        "is_complete": False,
        "read": 0,
        "inserted": 0,
        "duplicates": 0,
        "voided": 0,
        "rejected": 0,
        "rows_per_second": 0,
        "rejects_file": None,
    }


def test_every_wrong_setting_is_named(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = ingest(
        shell,
        "a.csv",
        settings={"DYNAMODB_EVENTS_TABLE_NAME": "!", "DYNAMODB_ENDPOINT_URL": "localhost:9000"},
    )

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: settings (environment or .env): ")
    assert ran.err.count("\n") == 1
    # In our words, not in those of the library that looks at them.
    assert (
        "DYNAMODB_ENDPOINT_URL is 'localhost:9000': is no address like http://localhost:9000; "
        "leave it empty for AWS itself" in ran.err
    )
    assert "DYNAMODB_EVENTS_TABLE_NAME is '!': " in ran.err
    assert "3 to 241" in ran.err


def test_aws_without_a_region_is_said_in_words(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)
    nowhere = {"DYNAMODB_ENDPOINT_URL": "", "HOME": str(shell.folder), **CREDENTIALS}

    ran = ingest(shell, "a.csv", settings=nowhere)

    assert (ran.code, ran.out) == (2, "")
    assert "AWS_REGION" in ran.err


def test_a_file_dot_env_in_the_working_directory_sets_what_the_environment_does_not(
    shell: Shell, tables: Tables
) -> None:
    shell.write("a.csv", "\n".join(GOOD_LINES))
    name = shell.settings.pop("DYNAMODB_EVENTS_TABLE_NAME")
    url = shell.settings.pop("DYNAMODB_ENDPOINT_URL")
    shell.write(".env", f"DYNAMODB_EVENTS_TABLE_NAME={name}\nDYNAMODB_ENDPOINT_URL={url}\n")

    ran = ingest(shell, "a.csv")
    other = ingest(shell, "a.csv", settings={"DYNAMODB_ENDPOINT_URL": "http://localhost:1"})

    assert in_short(ran) == Ran(0, summary("a.csv", inserted=2, duplicates=0), "")
    assert tables.contents() == BOTH_GOOD
    assert other.code == 2
    assert other.err.startswith("error: the store at http://localhost:1 did not answer in time")


@needs_full_disk
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_summary_that_cannot_be_told_is_an_error_and_all_is_stored(
    shell: Shell, tables: Tables, options: tuple[str, ...], unbuffered: str
) -> None:
    shell.write("a.csv", "\n".join(GOOD_LINES))
    settings = {"PYTHONUNBUFFERED": unbuffered}

    ran = shell.run("-c", ON_FULL_DISK, INGEST, "a.csv", *options, settings=settings)

    assert ran == Ran(
        2,
        "",
        "error: standard output cannot be written: No space left on device. Run again to be told, "
        "that is safe\n",
    )
    assert tables.contents() == BOTH_GOOD
