"""`python -m events consume`: the counts are exact, and an offset is committed last."""

from __future__ import annotations

import json
from typing import Any

from tests.stream.conftest import Topics
from tests.support.factories import many_events
from tests.support.shell import Ran, Shell, free_port
from tests.support.tables import Tables, contents_of


def consume(shell: Shell, *arguments: str) -> Ran:
    return shell.run(
        "-m", "events", "consume", "--until-end", "--json", "--port", str(free_port()), *arguments
    )


def sum_of(ran: Ran) -> dict[str, Any]:
    """What a run says of itself, but for the time it took."""
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    assert found.pop("seconds") > 0
    assert found.pop("has_left")
    return found


def test_events_are_counted_once_however_often_they_are_sent_and_read(
    shell: Shell, tables: Tables, topics: Topics
) -> None:
    events = many_events(2_000, customers=20)
    topics.send_events([*events, *events[:500]])

    first = sum_of(consume(shell))
    again = sum_of(consume(shell))
    replayed = sum_of(consume(shell, "--from-beginning"))

    nothing = {"read": 0, "inserted": 0, "duplicates": 0, "voided": 0}
    nothing |= {"dead_letters": 0, "missing": 0}
    assert first == {**nothing, "read": 2_500, "inserted": 2_000, "duplicates": 500}
    assert again == nothing
    assert replayed == {**nothing, "read": 2_500, "duplicates": 2_500}
    assert tables.contents() == contents_of(events)
    assert topics.committed() == topics.ends()


def test_messages_that_were_deleted_before_they_were_counted_are_missed(
    shell: Shell, tables: Tables, topics: Topics
) -> None:
    first, later = many_events(6), many_events(10, seed=1)
    topics.send_events(first, partition=0)
    assert sum_of(consume(shell))["missing"] == 0
    topics.send_events(later, partition=0)
    topics.delete(0, before=9)

    ran = consume(shell)

    assert ran.code == 1
    found = json.loads(ran.out)
    assert (found["read"], found["inserted"], found["missing"]) == (7, 7, 3)
    assert "offsets 6 to 8 were deleted" in ran.err
    assert tables.contents() == contents_of([*first, *later[3:]])
    assert sum_of(consume(shell))["missing"] == 0
