"""`python -m events void` and `erase`."""

from __future__ import annotations

import json
import signal

import pytest

from tests.support.factories import Contents
from tests.support.shell import HEADER, INGEST, Shell, until
from tests.support.tables import Tables

EVENTS = "-m", "events"
ROWS = [f"acme,e{n % 3},t-{n},2021-03-01T{n % 24:02d}:00:00Z\n" for n in range(60)]
OTHERS = [f"globex,e,t-{n},2021-03-01T00:00:00Z\n" for n in range(5)]


def store(shell: Shell) -> None:
    shell.write("all.csv", HEADER + "".join(ROWS + OTHERS))
    assert shell.call(INGEST, "all.csv").code == 0


def totals(contents: Contents) -> dict[str, int]:
    sums: dict[str, int] = {}
    for (customer, key), hours in contents.counters.items():
        if key.startswith("total#"):
            sums[customer] = sums.get(customer, 0) + sum(hours.values())
    return sums


def test_voiding_a_file_twice_takes_its_events_out_once(shell: Shell, tables: Tables) -> None:
    store(shell)
    shell.write("wrong.csv", HEADER + "".join(ROWS[:20]))
    ran = shell.call(*EVENTS, "void", "wrong.csv", "--reason", "a test")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "wrong.csv: 20 rows read\n"
        "  voided                    20\n"
        "  already voided             0\n"
        "  not found                  0\n"
        "  rejected                   0\n"
    )
    assert totals(tables.contents()) == {"acme": 40, "globex": 5}
    again = shell.call(*EVENTS, "void", "wrong.csv", "--reason", "other", "--json")
    assert (again.code, json.loads(again.out)) == (
        0,
        {
            "file": "wrong.csv",
            "voided": 0,
            "already_voided": 20,
            "not_found": 0,
            "rejected": 0,
            "rejects_file": None,
        },
    )
    late = shell.call(INGEST, "all.csv")
    assert late.code == 0
    assert "  voided                20\n" in late.out
    assert totals(tables.contents()) == {"acme": 40, "globex": 5}
    assert shell.call(*EVENTS, "verify").code == 0


def test_invalid_and_unknown_rows_are_reported_and_the_rest_is_voided(
    shell: Shell, tables: Tables
) -> None:
    store(shell)
    text = HEADER + ROWS[0] + "acme,e,t,yesterday\n" + "acme,e,never,2021-03-01T00:00:00Z\n"
    ran = shell.call(*EVENTS, "void", "-", "--reason", "x", stdin=text.encode())
    assert ran.code == 1
    assert "rejected line 3: timestamp: " in ran.err
    assert "  not found                  1\n  rejected                   1\n" in ran.out
    assert shell.has("stdin.rejects.csv")
    assert totals(tables.contents()) == {"acme": 59, "globex": 5}


def test_an_impossible_correction_is_an_error_and_creates_no_table(
    shell: Shell, tables: Tables
) -> None:
    shell.write("a.csv", HEADER + ROWS[0])
    for arguments, message in (
        (("void", "a.csv", "--reason", "a\nb"), "--reason has the control character U+000A"),
        (("void", "no.csv", "--reason", "x"), "no.csv"),
        (("void", "a.csv", "--reason", "x"), "table not found"),
        (("erase", "acme"), "erasing cannot be undone: confirm with --yes"),
        (("erase", "", "--yes"), "customer_id: is empty"),
        (("erase", "acme", "--yes"), "table not found"),
    ):
        ran = shell.call(*EVENTS, *arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert message in ran.err
    assert not tables.are_there()


# It waits 40 s, twice.
@pytest.mark.slow
def test_a_killed_erasure_continues_and_leaves_other_customers(
    shell: Shell, tables: Tables
) -> None:
    store(shell)
    tables.put_foreign("acme", "2021-03-01T00:00:00.000000Z-not counted")
    first = shell.start(*EVENTS, "erase", "acme", "--yes")
    until(lambda: "waiting" in first.err or "erased" in first.err)
    first.signal(signal.SIGKILL)
    first.process.wait(60)
    second = shell.start(*EVENTS, "erase", "acme", "--yes")
    ran = second.ended(300)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("customer acme: ")
    assert ran.out.endswith(" erased, nothing is left\n")
    contents = tables.contents()
    assert {customer for customer, _ in contents.events} == {"globex"}
    assert {customer for customer, _ in contents.counters} == {"globex"}
    assert contents.customers == ["globex"]
    assert len(contents.events) == 5
    assert shell.call(*EVENTS, "verify").code == 0
