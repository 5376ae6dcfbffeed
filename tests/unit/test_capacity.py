"""The tables of docs/scale.md are those that its script prints, and follow from its figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import capacity

DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"


def written() -> dict[str, str]:
    """The tables that stand in the document, by name."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(r"<!-- capacity: (\w+) -->\n(.*?)<!-- end -->", text, re.DOTALL)
    return {name: table.strip() for name, table in found}


def test_the_tables_of_the_page_are_those_that_the_script_prints() -> None:
    assert written() == capacity.tables()


def test_a_figure_says_where_it_is_from() -> None:
    assert [name for name, item in capacity.FIGURES.items() if not item.source] == []


def test_a_consumer_is_bound_by_its_processor_or_by_its_round_trips() -> None:
    assert capacity.consumer_rate(1, 4) == 4 / capacity.value("round trip")
    assert capacity.consumer_rate(10**6, 64) == capacity.value("consume")


@pytest.mark.parametrize("load", [1, 10**6, 10**8, 10**9, 10**10])
def test_each_consumer_has_a_partition_and_takes_its_share_of_the_peak(load: int) -> None:
    rate = capacity.consumer_rate(
        capacity.value("events in a transaction"), capacity.value("threads")
    )
    consumers, partitions = capacity.consumers(load), capacity.partitions(load)
    assert 1 <= consumers <= partitions
    assert partitions % 12 == 0
    assert capacity.peak(load) <= consumers * rate * capacity.value("headroom")


def test_the_computed_numbers_of_the_text_are_those_of_the_tables() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    load = 10**9
    rate = capacity.consumer_rate(
        capacity.value("events in a transaction"), capacity.value("threads")
    )
    headroom = capacity.value("headroom")
    exactly = capacity.peak(load) / rate / headroom
    assert (
        f"{capacity.peak(load):,.0f} ÷ {rate:,.0f} ÷ {headroom:g} = {exactly:.1f}, so "
        f"{capacity.consumers(load)} processes and {capacity.partitions(load)} partitions"
    ) in text
    (dollars,) = re.findall(r"the writes alone are \[(\$[0-9,]+) a day\]", text)
    assert f"| {dollars}." in capacity.tables()["exact"]
