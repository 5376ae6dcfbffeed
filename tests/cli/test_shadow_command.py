"""`python -m events shadow`."""

from __future__ import annotations

import json

from tests.support.shell import HEADER, INGEST, Shell

EVENTS = "-m", "events"
ROWS = (
    "acme,call,t-1,2021-03-01T00:00:00Z\n"
    "acme,call,t-1,2021-03-01T00:00:00Z\n"  # a duplicate
    "acme,call,t-1,2021-03-02T00:00:00Z\n"
    "acme,login,t-1,2021-03-03T00:00:00Z\n"
    "acme,call,t-2,2021-03-02T00:00:00Z\n"
    "zeta,call,t-1,2021-03-04T00:00:00Z\n"
)
FIRST = "call at 2021-03-01T00:00:00.000000Z"


def test_shadow_lists_transaction_ids_with_several_timestamps(shell: Shell) -> None:
    shell.write("rows.csv", HEADER + ROWS)
    assert shell.call(INGEST, "rows.csv").code == 0
    ran = shell.call(*EVENTS, "shadow")
    assert ran.out == (
        f"acme t-1: {FIRST}; call at 2021-03-02T00:00:00.000000Z\n"
        f"acme t-1: {FIRST}; login at 2021-03-03T00:00:00.000000Z\n"
    )
    assert (ran.code, ran.err) == (
        1,
        "2 further events with a transaction id of an earlier one\n",
    )
    ran = shell.call(*EVENTS, "shadow", "--customer", "acme", "--end", "2021-03-03", "--json")
    document = json.loads(ran.out)
    assert (ran.code, document["other"]["timestamp"]) == (1, "2021-03-02T00:00:00.000000Z")
    assert document["first"]["timestamp"] == "2021-03-01T00:00:00.000000Z"
    assert shell.call(*EVENTS, "shadow", "--customer", "zeta").code == 0
