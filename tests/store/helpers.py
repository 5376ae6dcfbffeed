"""What several test files of the store suite use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from events.models import Event, Outcome
from tests.support.backdoor import Subject
from tests.support.factories import batches, days_of, expected_contents

#: Characters that have a meaning in a key, a URL, a pattern or a sort order.
ODD_TYPES = [
    "a#b", "a-b", "a%b", "a%2Db", "a%25b", "#", "-", "--", "%", "total#2021-03-01", "a b", "a/b",
    "!", "$", "~", "é", "e\u0301", "日本", "\ufffd", "😀", "NULL", "0",
]  # fmt: skip
ODD_CUSTOMERS = [
    "!", "%", "%25", "/", "a", "a b", "a#b", "a%2Fb", "a-b", "a/b", "A", "Z", "~", "é", "e\u0301",
    "ÿ", "日本", "\ufffd", "😀", "../..", "?x=1&y", "'\"", "customers", "l" * 2048, "日" * 682,
    "m" * 1025, "n" * 1024, "o" * 1023,
]  # fmt: skip


def write_all(
    subject: Subject, events: Iterable[Event], *, already: Iterable[Event] = ()
) -> list[Outcome]:
    """
    Write distinct events, one customer and day after the other.

    After each write the tables must equal a recount of all events written, including `already`.
    """
    known = list(already)
    outcomes: list[Outcome] = []
    for group in days_of(events):
        for batch in batches(group):
            outcomes += subject.store.write(batch)
            known += batch
            assert subject.tables.contents() == expected_contents(known)
    return outcomes


def day_counts(
    subject: Subject, first_day: str, last_day: str, *, by_type: bool, customer_id: str = "acme"
) -> list[tuple[str, str | None, dict[int, int]]]:
    return [
        (counter.day, counter.event_type, dict(counter.hours))
        for counter in subject.store.day_counts(customer_id, first_day, last_day, by_type=by_type)
    ]


#: Of each kind of fault the one or two that the first tier meets.
_IN_FIRST_TIER = {
    "throttled",
    "connection reset",
    "garbled 502",
    "timeout after the commit",
    "garbled 500 after the commit",
    "in progress after the commit",
    "conflict among duplicates",
    "proxy page",
    "truncated answer",
}


def cases(names: Iterable[str]) -> list[Any]:
    """Names of faults as parameters of a test; the second tier meets all of them."""
    return [
        name if name in _IN_FIRST_TIER else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]
