"""`python -m events void` and `erase`, as a user runs them."""

from __future__ import annotations

import json
import signal

from tests.support.shell import HEADER, INGEST, Shell, until
from tests.support.tables import Contents, Tables

EVENTS = "-m", "events"
ROWS = [f"acme,e{n % 3},t-{n},2021-03-01T{n % 24:02d}:00:00Z\n" for n in range(60)]
OTHERS = [f"globex,e,t-{n},2021-03-01T00:00:00Z\n" for n in range(5)]


def stored(shell: Shell) -> None:
    shell.write("all.csv", HEADER + "".join(ROWS + OTHERS))
    assert shell.run(INGEST, "all.csv").code == 0


def totals(contents: Contents) -> dict[str, int]:
    found: dict[str, int] = {}
    for (customer, key), hours in contents.counters.items():
        if key.startswith("total#"):
            found[customer] = found.get(customer, 0) + sum(hours.values())
    return found


def test_the_events_of_a_file_are_voided_and_a_second_run_changes_nothing(
    shell: Shell, tables: Tables
) -> None:
    stored(shell)
    shell.write("wrong.csv", HEADER + "".join(ROWS[:20]))
    ran = shell.run(*EVENTS, "void", "wrong.csv", "--reason", "a test")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "wrong.csv: 20 rows read\n"
        "  voided                    20\n"
        "  already voided             0\n"
        "  not found                  0\n"
        "  rejected                   0\n"
    )
    assert totals(tables.contents()) == {"acme": 40, "globex": 5}
    again = shell.run(*EVENTS, "void", "wrong.csv", "--reason", "other", "--json")
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
    late = shell.run(INGEST, "all.csv")
    assert late.code == 0
    assert "  voided                20\n" in late.out
    assert totals(tables.contents()) == {"acme": 40, "globex": 5}
    assert shell.run(*EVENTS, "verify").code == 0


def test_what_is_wrong_or_not_stored_is_said_and_the_rest_is_voided(
    shell: Shell, tables: Tables
) -> None:
    stored(shell)
    text = HEADER + ROWS[0] + "acme,e,t,yesterday\n" + "acme,e,never,2021-03-01T00:00:00Z\n"
    ran = shell.run(*EVENTS, "void", "-", "--reason", "x", stdin=text.encode())
    assert ran.code == 1
    assert "rejected line 3: timestamp: " in ran.err
    assert "  not found                  1\n  rejected                   1\n" in ran.out
    assert shell.has("stdin.rejects.csv")
    assert totals(tables.contents()) == {"acme": 59, "globex": 5}


def test_a_correction_that_cannot_be_is_an_error_and_makes_no_table(
    shell: Shell, tables: Tables
) -> None:
    shell.write("a.csv", HEADER + ROWS[0])
    for arguments, said in (
        (("void", "a.csv", "--reason", "a\nb"), "--reason has the control character U+000A"),
        (("void", "no.csv", "--reason", "x"), "no.csv"),
        (("void", "a.csv", "--reason", "x"), "there is no table"),
        (("erase", "acme"), "erase cannot be undone: add --yes"),
        (("erase", "", "--yes"), "customer_id: is empty"),
        (("erase", "acme", "--yes"), "there is no table"),
    ):
        ran = shell.run(*EVENTS, *arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert said in ran.err
    assert not tables.are_there()


def test_an_erasure_that_was_killed_goes_on_and_leaves_nothing_but_the_others(
    shell: Shell, tables: Tables
) -> None:
    stored(shell)
    tables.put_event("acme", "2021-03-01T00:00:00.000000Z-not counted")
    first = shell.start(*EVENTS, "erase", "acme", "--yes")
    until(lambda: "waiting" in first.err or "erased" in first.err)
    first.signal(signal.SIGKILL)
    first.process.wait(10)
    second = shell.start(*EVENTS, "erase", "acme", "--yes")
    ran = second.ended(90)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("customer acme: ")
    assert ran.out.endswith(" erased, nothing is left\n")
    contents = tables.contents()
    assert {customer for customer, _ in contents.events} == {"globex"}
    assert {customer for customer, _ in contents.counters} == {"globex"}
    assert contents.customers == ["globex"]
    assert len(contents.events) == 5
    assert shell.run(*EVENTS, "verify").code == 0
