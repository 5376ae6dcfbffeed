"""`ingest_events_from_file.py`: rejected rows, and where they go."""

from __future__ import annotations

import csv
from datetime import UTC, datetime

import pytest

from tests.support.shell import HEADER, INGEST, Ran, Shell, needs_full_disk
from tests.support.summaries import in_short, summary, untimed
from tests.support.tables import Tables, contents_of

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
GOOD_LINES = ("acme,api_call,t-1,2021-03-01T10:00:00Z", "acme,search,t-2,2021-03-01T10:00:00Z")
BOTH_GOOD = contents_of([("acme", "api_call", "t-1", TEN), ("acme", "search", "t-2", TEN)])
UNIT = "name its unit with --timestamp-format, such as epoch-s"
LIKE = "write it like 2021-03-01T00:10:05.657Z"
IN_NO_QUOTES = "has a quote in a cell that is not quoted: quote the cell and double the quote"


def rejects_in(shell: Shell, name: str) -> list[list[str]]:
    with (shell.folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_next_run_replaces_or_removes_the_rejects_file(shell: Shell, tables: Tables) -> None:
    bad = [f"acme,e,t-{number},10" for number in range(1, 7)]
    shell.write("a.csv", "\n".join((HEADER.strip(), "", *bad[:3], *GOOD_LINES, *bad[3:])) + "\n")
    first = shell.call(INGEST, "a.csv")
    after_first = rejects_in(shell, "a.csv.rejects.csv")
    shell.write("a.csv", "\r\n".join((*GOOD_LINES, 'acme,"e",t-7,"1,0"')))
    second = shell.call(INGEST, "a.csv")
    after_second = shell.read("a.csv.rejects.csv")
    shell.write("a.csv", "\n".join(GOOD_LINES))
    third = shell.call(INGEST, "a.csv")

    reason = f"timestamp: '10' is a number; {LIKE}, or {UNIT}"
    lines = (3, 4, 5, 8, 9, 10)
    assert in_short(first) == Ran(
        1,
        summary("a.csv", inserted=2, duplicates=0, rejected=6),
        "".join(f"rejected line {line}: {reason}\n" for line in lines[:5])
        + "more lines were rejected: see a.csv.rejects.csv\n",
    )
    assert after_first == [
        ["line", "reason", "row"],
        *([str(line), reason, row] for line, row in zip(lines, bad, strict=True)),
    ]
    assert second.code == 1
    assert after_second == (
        "line,reason,row\n"
        f"3,\"timestamp: '1,0' is not a date and time; {LIKE}\","
        '"acme,""e"",t-7,""1,0"""\n'
    )
    assert in_short(third) == Ran(0, summary("a.csv", inserted=0, duplicates=2), "")
    assert shell.names() == ["a.csv"]
    assert tables.contents() == BOTH_GOOD


def test_rejects_names_another_file(shell: Shell) -> None:
    shell.write("a.csv", "\n".join((*GOOD_LINES, "no,row", "")))

    ran = shell.call(INGEST, "a.csv", "--rejects", "bad rows.csv")

    assert in_short(ran) == Ran(
        1,
        summary("a.csv", inserted=2, duplicates=0, rejected=1, rejects="bad rows.csv"),
        "rejected line 3: has 2 columns, not 4\n",
    )
    assert rejects_in(shell, "bad rows.csv") == [
        ["line", "reason", "row"],
        ["3", "has 2 columns, not 4", "no,row"],
    ]
    assert shell.names() == ["a.csv", "bad rows.csv"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "missing/r.csv",
            "cannot write rejected rows to missing/r.csv (No such file or directory): name "
            "another file with --rejects",
        ),
        (
            ".",
            "cannot write rejected rows to . (Is a directory): name another file with --rejects",
        ),
        ("./a.csv", "a.csv is the input file itself: name another file with --rejects"),
    ],
)
def test_an_unusable_rejects_path_is_an_error_before_anything_is_stored(
    shell: Shell, tables: Tables, path: str, message: str
) -> None:
    content = "\n".join((*GOOD_LINES, "no,row", ""))
    shell.write("a.csv", content)

    ran = shell.call(INGEST, "a.csv", "--rejects", path)

    assert ran == Ran(2, "", f"error: {message}\n")
    assert shell.read("a.csv") == content
    assert shell.names() == ["a.csv"]
    assert tables.count() == 0


@needs_full_disk
def test_a_full_disk_under_the_rejects_file_is_an_error(shell: Shell) -> None:
    (shell.folder / "full.csv").symlink_to("/dev/full")
    shell.write("a.csv", "\n".join((*GOOD_LINES, "no,row", "")))

    ran = shell.call(INGEST, "a.csv", "--rejects", "full.csv")

    assert (ran.code, ran.err) == (
        2,
        "rejected line 3: has 2 columns, not 4\n"
        "error: cannot write rejected rows to full.csv (No space left on device): free some "
        "space, or name another file with --rejects\n",
    )
    assert untimed(ran.out).startswith("a.csv: 3 rows read\n")


# --- the catalog of bad rows ----------------------------------------------------------------------

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
        rf"timestamp: '2021-03-01\x0010:00:00Z' has invalid characters; {LIKE}",
    ),
    "five columns": (b"acme,e,t,2021-03-01T10:00:00Z,9", "has 5 columns, not 4"),
    "three columns": (b"acme,e,t", "has 3 columns, not 4"),
    "semicolons": (
        b"acme;e;t;2021-03-01T10:00:00Z",
        "has 1 column, not 4",
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
        "timestamp: has no offset: add Z or +00:00, or name its zone with --assume-timezone",
    ),
    "a space for the plus": (
        b"acme,e,t,2021-03-01T10:00:00 00:00",
        "timestamp: '2021-03-01T10:00:00 00:00' has a space where the sign of the offset should "
        "be; write it like 2021-03-01T00:10:05.657Z",
    ),
    "a leap second": (
        b"acme,e,t,2016-12-31T23:59:60Z",
        "timestamp: '2016-12-31T23:59:60Z' is a leap second, which UTC datetimes cannot hold: "
        "send second 59",
    ),
    "30 February": (
        b"acme,e,t,2021-02-30T10:00:00Z",
        "timestamp: '2021-02-30T10:00:00Z' is not a valid date and time: day is out of "
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
    "a bare number": (b"acme,e,t,10", f"timestamp: '10' is a number; {LIKE}, or {UNIT}"),
    "a date alone": (
        b"acme,e,t,2021-03-01",
        f"timestamp: '2021-03-01' has no time of day; {LIKE}, or mean midnight with "
        "--timestamp-format %Y-%m-%d",
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
        r"has a carriage return (\r) inside: end lines with \n or \r\n",
    ),
}


def test_each_bad_row_is_rejected_alone_with_line_and_reason(shell: Shell, tables: Tables) -> None:
    lines = [HEADER.strip().encode()]
    expected = [["line", "reason", "row"]]
    good = []
    for number, (raw, reason) in enumerate(BAD_ROWS.values()):
        lines += [b"acme,e,t-%d,2021-03-01T10:00:00Z" % number, raw]
        good.append(("acme", "e", f"t-{number}", TEN))
        expected.append([str(len(lines)), reason, raw.decode("utf-8", "backslashreplace")[:1_000]])
    shell.write("a.csv", b"\n".join(lines))

    ran = shell.call(INGEST, "a.csv")

    count = len(BAD_ROWS)
    assert (ran.code, untimed(ran.out)) == (
        1,
        summary("a.csv", inserted=count, duplicates=0, rejected=count),
    )
    assert rejects_in(shell, "a.csv.rejects.csv") == expected
    assert tables.contents() == contents_of(good)


def test_a_line_break_inside_quotes_costs_its_own_two_lines(shell: Shell, tables: Tables) -> None:
    broken = ('acme,e,"t', '3",2021-03-01T10:00:00Z')
    shell.write("a.csv", "\n".join((HEADER.strip(), GOOD_LINES[0], *broken, GOOD_LINES[1])))

    ran = shell.call(INGEST, "a.csv")

    reasons = ("opens a quote that does not close on the same line", IN_NO_QUOTES)
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
