"""`ingest_events_from_file.py`: inputs, options, settings and stores that it cannot use."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from datetime import UTC, datetime

import pytest

from tests.support.shell import HEADER, INGEST, Ran, Shell, free_port
from tests.support.summaries import in_short, some_contents, some_lines, summary, untimed
from tests.support.tables import Tables, contents_of

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
GOOD_LINES = ("acme,api_call,t-1,2021-03-01T10:00:00Z", "acme,search,t-2,2021-03-01T10:00:00Z")
BOTH_GOOD = contents_of([("acme", "api_call", "t-1", TEN), ("acme", "search", "t-2", TEN)])
AGAIN = "The rows before it stay stored: fetch the file again and run again, that is safe."

ROW = GOOD_LINES[0] + "\n"
BAD_INPUTS: dict[str, tuple[str | bytes, str]] = {
    "a column is missing": (
        "customer_id,event_type,transaction_id\n" + ROW,
        ", line 1: the header lacks 'timestamp'; it has 'customer_id', 'event_type', "
        "'transaction_id'. If a field has another name here, add --columns timestamp=COLUMN",
    ),
    "a column is there twice": (
        "customer_id,event_type,event_type,timestamp,id\n" + ROW,
        ", line 1: the header repeats 'event_type'",
    ),
    "an unknown header": (
        "a,b,c,d\n" + ROW,
        ", line 1: neither an event nor a header with known names: 'a,b,c,d'. The columns are "
        "customer_id,event_type,transaction_id,timestamp; if they have other names, add --columns "
        "customer_id=COLUMN,event_type=COLUMN,transaction_id=COLUMN,timestamp=COLUMN. If the "
        "header is in a later line, delete the lines before it; if its delimiter is not found, add "
        "--delimiter",
    ),
    "a spreadsheet": (
        b"PK\x03\x04\x14\x00\x06\x00",
        ": this is a zip archive or an Excel workbook (.xlsx): unpack it, or save it as CSV",
    ),
}


def test_an_input_that_is_not_a_csv_of_events_stores_nothing(shell: Shell, tables: Tables) -> None:
    for content, message in BAD_INPUTS.values():
        shell.write("a.csv", content)
        assert shell.call(INGEST, "a.csv") == Ran(2, "", f"error: a.csv{message}\n")
        assert shell.names() == ["a.csv"]
    assert tables.count() == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("b.csv", "b.csv: file not found"),
        (".", ".: is a directory: name a file in it"),
        ("a.csv.gz", "a.csv.gz: not gzip data, although the name ends in .gz"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    shell: Shell, tables: Tables, name: str, message: str
) -> None:
    shell.write("a.csv.gz", HEADER + ROW)

    assert shell.call(INGEST, name) == Ran(2, "", f"error: {message}\n")
    assert shell.names() == ["a.csv.gz"]
    assert tables.count() == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_permission_is_named(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW).chmod(0)

    ran = shell.call(INGEST, "a.csv")

    assert ran == Ran(2, "", "error: a.csv: no permission to read this file\n")


def test_truncated_gzip_stores_the_whole_lines_before_the_cut(shell: Shell, tables: Tables) -> None:
    whole = gzip.compress((HEADER + "".join(some_lines(1_200))).encode())
    cut = whole[: len(whole) // 2]
    lines = zlib.decompressobj(wbits=31).decompress(cut).count(b"\n")
    shell.write("a.csv.gz", cut)

    ran = shell.call(INGEST, "a.csv.gz")

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
def test_damaged_gzip_says_where_and_that_rows_may_be_wrong(
    shell: Shell, tables: Tables, damage: str, why: str
) -> None:
    content = gzip.compress((HEADER + "\n".join(GOOD_LINES) + "\n").encode())
    damaged = {
        "checksum": content[:-8] + b"\0" * 4 + content[-4:],
        # A second member, whose first block has an invalid type.
        "data": content + content[:10] + b"\x07" + b"\0" * 20,
        "trailer": content + b"????????",
    }
    shell.write("a.csv.gz", damaged[damage])

    ran = shell.call(INGEST, "a.csv.gz")

    assert (ran.code, untimed(ran.out)) == (2, summary("a.csv.gz", inserted=2, duplicates=0))
    assert ran.err.startswith(
        "error: a.csv.gz: the gzip data is damaged after line 3, and rows before it may be wrong: "
        + why
    )
    assert ran.err.endswith(f". {AGAIN}\n")
    assert tables.contents() == BOTH_GOOD


# --- the command line, the settings, the store ----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.csv", "--workers", "0"), "Invalid value for '--workers': "),
        (("a.csv", "--workers", "65"), "Invalid value for '--workers': "),
        (("a.csv", "--workers", "x"), "Invalid value for '--workers': "),
        (("a.csv", "--patience", "-1"), "Invalid value for '--patience': "),
        (("a.csv", "--quick"), "No such option: --quick"),
        (("a.csv", "--ambiguous-hour", "third"), "Invalid value for '--ambiguous-hour': "),
        ((), "Missing argument 'FILE'"),
    ],
)
def test_a_wrong_command_line_prints_the_usage(
    shell: Shell, tables: Tables, arguments: tuple[str, ...], message: str
) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = shell.call(INGEST, *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: python ingest_events_from_file.py ")
    assert message in ran.err
    assert not tables.are_there()


def test_help_names_every_option_and_exit_code(shell: Shell) -> None:
    ran = shell.call(INGEST, "--help")

    assert (ran.code, ran.err) == (0, "")
    for option in (
        *("--dry-run", "--json", "--rejects", "--columns", "--delimiter", "--timestamp-format"),
        *("--assume-timezone", "--ambiguous-hour", "--workers", "--patience"),
    ):
        assert f"\n  {option} " in ran.out
    assert "FILE}..." in ran.out
    assert "Exit code: 0 all" in ran.out


def test_an_unknown_time_zone_is_named(shell: Shell, tables: Tables) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = shell.call(INGEST, "a.csv", "--assume-timezone", "Mars/Base")

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: ")
    assert "'Mars/Base'" in ran.err
    assert not tables.are_there()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--columns", "id"), "--columns 'id': write FIELD=COLUMN, such as customer_id=user"),
        (("--delimiter", "ab"), "--delimiter 'ab': give one character, or comma, semicolon, "),
        (("--timestamp-format", "unix"), "--timestamp-format 'unix' is unknown: use iso, "),
        (("--timestamp-format", "%H:%M"), "--timestamp-format '%H:%M' lacks a part of the date"),
        (("b.csv", "--rejects", "r.csv"), "--rejects names the rejected rows of one file"),
        (("no-*.csv",), "no-*.csv: no file matches this pattern"),
        (("x" * 5_000,), "x" * 5_000 + ": cannot be opened: File name too long"),
    ],
)
def test_an_invalid_option_stores_nothing(
    shell: Shell, tables: Tables, options: tuple[str, ...], message: str
) -> None:
    shell.write("a.csv", HEADER + ROW)
    shell.write("b.csv", HEADER + ROW)

    ran = shell.call(INGEST, "a.csv", *options)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {message}")
    assert not tables.are_there()


def test_a_missing_local_store_is_reported_with_how_to_start_it(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)
    port = free_port()

    ran = shell.call(
        INGEST, "a.csv", settings={"DYNAMODB_ENDPOINT_URL": f"http://localhost:{port}"}
    )

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"error: the store at http://localhost:{port} did not answer in time")
    # The command starts one where this run looked for it.
    assert ran.err.endswith(
        f". To start one on this machine: python -m events local --port {port}\n"
    )
    assert shell.names() == ["a.csv"]


ELSEWHERE = {
    "DYNAMODB_ENDPOINT_URL": "http://db.invalid:9000",
    "AWS_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


def test_a_store_elsewhere_is_not_to_be_started_here(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = shell.call(INGEST, "a.csv", settings={**ELSEWHERE, **CREDENTIALS})

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: the store at http://db.invalid:9000 did not answer in time")
    assert "python -m events local" not in ran.err


def test_missing_aws_credentials_are_named(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = shell.call(INGEST, "a.csv", settings={**ELSEWHERE, "HOME": str(shell.folder)})

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    # Nothing was sent, so nothing was refused.
    assert "refused" not in ran.err
    assert "credentials" in ran.err


def test_a_missing_aws_region_is_named(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)
    nowhere = {"DYNAMODB_ENDPOINT_URL": "", "HOME": str(shell.folder), **CREDENTIALS}

    ran = shell.call(INGEST, "a.csv", settings=nowhere)

    assert (ran.code, ran.out) == (2, "")
    assert "AWS_REGION" in ran.err


def test_json_is_printed_after_an_error_too(shell: Shell) -> None:
    shell.write("a.csv", "customer_id,event_type,transaction_id\n" + ROW)

    ran = shell.call(INGEST, "a.csv", "--json")

    assert ran.code == 2
    assert ran.err.startswith("error: a.csv, line 1: the header lacks 'timestamp'; ")
    assert ran.out.count("\n") == 1
    answer = json.loads(ran.out)
    answer.pop("seconds")
    assert answer == {
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
        "ignored_columns": [],
    }


def test_every_invalid_setting_is_named(shell: Shell) -> None:
    shell.write("a.csv", HEADER + ROW)

    ran = shell.call(
        INGEST,
        "a.csv",
        settings={"DYNAMODB_EVENTS_TABLE_NAME": "!", "DYNAMODB_ENDPOINT_URL": "localhost:9000"},
    )

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: settings (environment or .env): ")
    assert "DYNAMODB_ENDPOINT_URL is 'localhost:9000': " in ran.err
    assert "like http://localhost:9000" in ran.err
    assert "DYNAMODB_EVENTS_TABLE_NAME is '!': " in ran.err
    assert "3 to 241" in ran.err
