"""`python -m events demo`: how it compares, what it sends, and what it says if it cannot run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from events.cli import demo
from events.cli.children import ChildDied, Children
from events.cli.demopaths import Side, difference, report
from events.config import Settings
from events.errors import InvalidInput

CHECKOUT = Path(__file__).parents[2]
A = ("acme", "search", "2026-11-29T08:00:00.000000Z")
B = ("acme", "search", "2026-11-29T09:00:00.000000Z")


def test_a_path_that_counts_a_duplicate_twice_differs() -> None:
    sides = (
        Side("counters", {A: 4, B: 1_999}),
        Side("archive", {A: 4, B: 1_999}),
        Side("stream", {A: 5}, "open from 2026-11-29T09h", {A: 4}),
        Side("bill", {A: 4, B: 2_001}),
    )
    assert list(report(sides)) == [
        "  counters      2,003",
        "  archive       2,003  equal",
        "  stream            5  DIFFERS: 1 too many and 0 too few in 1 count, first acme search "
        "2026-11-29T08:00:00.000000Z: 5 instead of 4; open from 2026-11-29T09h",
        "  bill          2,005  DIFFERS: 2 too many and 0 too few in 1 count, first acme search "
        "2026-11-29T09:00:00.000000Z: 2,001 instead of 1,999",
    ]


def test_counts_of_the_same_total_differ() -> None:
    assert difference({A: 1, B: 2}, {A: 2, B: 1}).startswith("DIFFERS: 1 too many and 1 too few")


def test_a_path_that_is_behind_says_why_and_the_others_are_compared() -> None:
    sides = (
        Side("counters", None, "40 messages behind"),
        Side("archive", Counter()),
        Side("bill", {A: 1}),
    )
    lines = list(report(sides))
    assert lines[:2] == ["  counters          -  40 messages behind", "  archive           0"]
    assert "DIFFERS" in lines[2]


def test_a_child_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Children(tmp_path, {}) as children:
        ended = children.start("ended", "-c pass", is_service=False)
        children.wait(lambda: ended.process.poll() is not None)
        children.start("part", "-c print('bad',1/0)")
        with pytest.raises(ChildDied, match=r"part exited with code 1; .*part\.log ends:") as died:
            children.wait(lambda: False)
    assert str(died.value).endswith("ZeroDivisionError: division by zero")


def test_no_setting_comes_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("events_kafka_topic", "other")
    monkeypatch.setenv("PYICEBERG_CATALOG__EVENTS_DEMO__URI", "sqlite:///other.db")
    (tmp_path / ".env").write_text(
        "EVENTS_DATABASE_URL=sqlite:///other.db\nEVENTS_RATE_PER_KEY=1/day\n", encoding="utf-8"
    )
    settings = Settings.model_construct(dynamodb_endpoint_url="http://localhost:9")
    environment = demo.environment(tmp_path, "flink", settings)
    assert "PYICEBERG_CATALOG__EVENTS_DEMO__URI" not in environment
    show = "from events.bootstrap import load_settings; print(load_settings().model_dump_json())"
    ran = subprocess.run(
        [sys.executable, "-c", show], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    assert json.loads(ran.stdout) == settings.model_dump()


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "sklearn" else name)
    with pytest.raises(InvalidInput) as raised:
        demo.check_installed("flink")
    assert str(raised.value) == (
        "sklearn not installed: run python -m pip install -r requirements-flink.txt "
        "-r requirements-forecast.txt"
    )


def test_without_a_jdk_spark_says_how_to_install_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(
        InvalidInput, match=r"/nowhere/bin/java not found\. .*apt-get install openjdk"
    ):
        demo.check_installed("spark")


def test_an_installed_package_says_that_the_checkout_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="works only in a checkout"):
        demo.check_installed("flink", tmp_path)


def test_its_picture_is_that_in_the_readme() -> None:
    readme, page = (
        re.findall(r"```mermaid\n.+?```", (CHECKOUT / name).read_text(encoding="utf-8"), re.DOTALL)
        for name in ("README.md", "docs/demo.md")
    )
    assert len(readme) == 1
    assert page == readme
