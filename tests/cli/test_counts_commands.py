"""`python -m events buckets` and `export`: what they print and write."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.shell import Ran, Shell
from tests.support.tables import Tables, contents_of

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: The last one is on the 3rd of March in Kolkata.
STORED = contents_of(
    [
        ("acme", "api_call", "t-1", TEN),
        ("acme", "api_call", "t-2", TEN + HOUR / 2),
        ("acme", "=1+1", "t-3", TEN + HOUR),
        ("acme", "api_call", "t-4", TEN + DAY + 8 * HOUR + HOUR / 2),
    ]
)
HOURS_CSV = (
    "ts_start_of_hour,count,partial\n"
    "2021-03-01T10:00:00.000000Z,2,false\n"
    "2021-03-01T11:00:00.000000Z,1,false\n"
    "2021-03-02T18:00:00.000000Z,1,false\n"
)
DAYS = [
    {
        "start": "2021-03-01T00:00:00.000000+05:30",
        "end": "2021-03-02T00:00:00.000000+05:30",
        "count": 3,
        "partial": False,
    },
    {
        "start": "2021-03-03T00:00:00.000000+05:30",
        "end": "2021-03-04T00:00:00.000000+05:30",
        "count": 1,
        "partial": False,
    },
]
IN_KOLKATA = ("--window", "day", "--timezone", "Asia/Kolkata")


@pytest.fixture(autouse=True)
def _stored(tables: Tables) -> None:
    tables.fill(STORED)


def events(shell: Shell, *arguments: str, **settings: str) -> Ran:
    return shell.call("-m", "events", *arguments, settings=settings)


def test_hours_are_a_table_with_bars_as_wide_as_the_terminal(shell: Shell) -> None:
    arguments = ("buckets", "acme", "--start", "2021-03-01T10:30:00Z")
    assert events(shell, *arguments, COLUMNS="40") == Ran(
        0,
        "2021-03-01 10:00Z~  1  █████████████████\n"
        "2021-03-01 11:00Z   1  █████████████████\n"
        "2021-03-02 18:00Z   1  █████████████████\n"
        "total               3  in 3 hours, UTC\n"
        "~ partial: the range begins or ends inside this hour\n",
        "",
    )
    ascii_only = shell.run("-m", "events", *arguments, settings={"PYTHONIOENCODING": "ascii"})
    assert "##########" in ascii_only.out


def test_days_of_a_zone_by_type_are_a_table_and_one_json_object(shell: Shell) -> None:
    ran = events(shell, "buckets", "acme", *IN_KOLKATA, "--group-by", "event_type", COLUMNS="30")
    assert ran.out.splitlines()[1:3] == ["            api_call  2", "2021-03-03  api_call  1"]
    assert json.loads(events(shell, "buckets", "acme", *IN_KOLKATA, "--json").out) == {
        "customer_id": "acme",
        "start": "0001-01-01T00:00:00.000000Z",
        "end": "9999-12-31T23:59:59.999999Z",
        "window": "day",
        "timezone": "Asia/Kolkata",
        "total": 4,
        "buckets": DAYS,
    }


def test_several_customers_are_counted_one_after_the_other(shell: Shell) -> None:
    month = ("--window", "month", "--start", "2021-03-01", "--end", "2021-04-01")
    ran = events(shell, "buckets", "acme", "nobody", "acme", *month, COLUMNS="10")
    assert ran == Ran(
        0,
        "acme\n2021-03  4\ntotal    4  in 1 month, UTC\n\nnobody\ntotal  0  in 0 months, UTC\n",
        "",
    )
    answer = json.loads(events(shell, "buckets", "acme", "nobody", *month, "--json").out)
    found = [(item["customer_id"], item["total"]) for item in answer["customers"]]
    assert found == [("acme", 4), ("nobody", 0)]
    csv = (
        "customer_id,start,end,count,partial\n"
        "acme,2021-03-01T00:00:00.000000+00:00,2021-04-01T00:00:00.000000+00:00,4,false\n"
    )
    assert events(shell, "buckets", "acme", "nobody", *month, "--csv").out == csv
    assert events(shell, "export", "nobody", "acme", *month).out == csv


def test_csv_is_the_same_from_both_commands(shell: Shell) -> None:
    assert events(shell, "buckets", "acme", "--csv") == Ran(0, HOURS_CSV, "")
    assert events(shell, "export", "acme") == Ran(0, HOURS_CSV, "")
    filtered = events(shell, "export", "acme", "--type", "=1+1", "--group-by", "event_type")
    assert filtered.out.splitlines()[1:] == ["2021-03-01T11:00:00.000000Z,'=1+1,1,false"]


def test_an_export_to_a_file_is_whole_or_absent(shell: Shell) -> None:
    ran = events(shell, "export", "acme", *IN_KOLKATA, "--format", "jsonl", "--output", "out.jsonl")
    assert (ran.code, ran.out) == (0, "")
    assert [json.loads(line) for line in shell.read("out.jsonl").splitlines()] == DAYS
    assert ran.err == f"out.jsonl: {len(shell.read('out.jsonl'))} bytes\n"
    assert shell.names() == ["out.jsonl"]

    # An export that fails leaves the earlier file unchanged.
    before = shell.read("out.jsonl")
    failed = events(
        shell, "export", "acme", "--output", "out.jsonl", DYNAMODB_EVENTS_TABLE_NAME="no_such_table"
    )
    assert failed.code == 2
    assert shell.read("out.jsonl") == before
    assert shell.names() == ["out.jsonl"]


def test_parquet_has_the_same_counts(shell: Shell) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    ran = events(shell, "export", "acme", "--format", "parquet", "--output", "out.parquet")
    assert (ran.code, ran.out) == (0, "")
    assert parquet.read_table(shell.folder / "out.parquet").column("count").to_pylist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--window", "day", "--timezone", "Mars"], "unknown time zone 'Mars'"),
        (["--start", "10"], "--start: '10' is not an ISO 8601 date"),
        (["--type", " "], "--type"),
        (["--fill", "zero"], "fill=zero gives at most 10,000 hours"),
    ],
)
def test_a_wrong_question_is_an_error_that_says_why(
    shell: Shell, arguments: list[str], reason: str
) -> None:
    for command in ("buckets", "export"):
        ran = events(shell, command, "acme", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert reason in ran.err


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_error(shell: Shell) -> None:
    script = (
        "import subprocess, sys\n"
        "made = subprocess.Popen([sys.executable, '-m', 'events', 'buckets', 'acme', '--csv',\n"
        "  '--start', '2021-03-01', '--end', '2022-03-01', '--fill', 'zero'],\n"
        "  stdout=subprocess.PIPE)\n"
        "made.stdout.readline(); made.stdout.close()\n"
        "sys.exit(made.wait())\n"
    )
    assert shell.run("-c", script) == Ran(0, "", "")


#: Runs a command whose output may only have so many bytes, like a disk that fills up.
CUT = (
    "import resource, subprocess, sys\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)\n"
    "with open('cut', 'wb') as out:\n"
    "    sys.exit(subprocess.run([sys.executable, '-m', 'events', *sys.argv[2:]], stdout=out)"
    ".returncode)\n"
)
YEAR = ("acme", "--start", "2021-03-01", "--end", "2022-03-01", "--fill", "zero")


@pytest.mark.parametrize(
    ("command", "unbuffered"), [(("buckets", "--json"), "1"), (("export",), "")]
)
def test_incomplete_output_is_an_error(
    shell: Shell, command: tuple[str, ...], unbuffered: str
) -> None:
    settings = {"PYTHONUNBUFFERED": unbuffered}
    ran = shell.run("-c", CUT, "20000", *command, *YEAR, settings=settings)
    assert ran == Ran(2, "", "error: cannot write to standard output: File too large\n")


@pytest.mark.slow
def test_an_export_on_a_full_disk_leaves_the_earlier_file(shell: Shell) -> None:
    shell.write("out.csv", "before")
    ran = shell.run("-c", CUT, "20000", "export", *YEAR, "--output", "out.csv")
    assert ran == Ran(2, "", "error: cannot write out.csv: File too large\n")
    assert shell.read("out.csv") == "before"
    assert shell.names() == ["cut", "out.csv"]


@pytest.mark.slow
def test_closed_output_is_an_error(shell: Shell) -> None:
    script = (
        "import os, subprocess, sys\n"
        "sys.exit(subprocess.run([sys.executable, '-m', 'events', *sys.argv[1:]],\n"
        "  preexec_fn=lambda: os.close(1)).returncode)\n"
    )
    ran = shell.run("-c", script, "export", "acme")
    assert ran == Ran(2, "", "error: standard output is closed\n")
