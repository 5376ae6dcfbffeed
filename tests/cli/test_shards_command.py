"""`python -m events shards`: plans are set, shown, and refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.factories import Contents
from tests.support.shell import Ran, Shell
from tests.support.tables import Tables


def shards(shell: Shell, *arguments: str) -> Ran:
    return shell.call("-m", "events", "shards", *arguments)


def test_a_plan_is_set_and_shown(shell: Shell, tables: Tables) -> None:
    tables.fill(Contents([], {}, []))
    assert shards(shell, "show").out == "no plan: every day has one shard\n"
    first = shards(shell, "set", "acme", "--shards", "4", "--from", "2021-03-01")
    assert (first.code, first.out.split()) == (
        0, ["CUSTOMER", "FROM", "DAY", "SHARDS", "PINNED", "acme", "2021-03-01", "4", "no"]
    )  # fmt: skip
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    second = shards(shell, "set", "acme", "--shards", "16", "--pin")
    assert second.code == 0
    assert json.loads(shards(shell, "show", "acme", "--json").out) == [
        {
            "customer_id": "acme",
            "shards_from": {"2021-03-01": 4, tomorrow.isoformat(): 16},
            "is_pinned": True,
        }
    ]
    assert shards(shell, "show").out == second.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shards", "3"], "use 1, 2, 4, 8, 16, 32, 64"),
        (["--shards", "128"], "use 1, 2, 4, 8, 16, 32, 64"),
        (["--shards", "2", "--from", "tomorrow"], "use a day such as 2026-12-01"),
    ],
)
def test_an_invalid_plan_is_refused(lone_shell: Shell, arguments: list[str], words: str) -> None:
    ran = shards(lone_shell, "set", "acme", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
