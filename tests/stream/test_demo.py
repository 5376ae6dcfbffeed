"""`python -m events demo`: all parts at once, seen equal, and ended without a process left."""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.shell import Shell, until

PARTS = {"api", "archive", "billing", "broker", "consume", "database", "features", "stream"}
EQUAL = re.compile(
    r"""
    ..:..:..\ \ [0-9,]+\ messages,\ (?P<duplicates>[0-9,]+)\ duplicates?,\ [0-9,]+\ invalid\n
    \ \ counters\ +(?P<counters>[0-9,]+)\n
    \ \ archive\ +(?P<archive>[0-9,]+)\ \ equal\n
    \ \ stream\ +(?P<stream>[0-9,]+)\ \ equal;\ hours\ from\ .+\n
    \ \ bill\ +(?P<bill>[0-9,]+)\ \ equal\n
    """,
    re.VERBOSE,
)


def test_the_demo_sees_all_paths_equal_and_leaves_no_process(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "here", {})
    processes: list[psutil.Process] = []
    try:
        demo = shell.start("-m", "events", "demo", "--every", "6", "--data", "demo")
        until(
            lambda: len(EQUAL.findall(demo.out)) >= 2 or not demo.is_running(), timeout_seconds=300
        )
        comparisons = list(EQUAL.finditer(demo.out))
        assert len(comparisons) >= 2, demo.out + demo.err
        assert "DIFFERS" not in demo.out
        for numbers in comparisons:
            assert numbers["counters"] == numbers["archive"] == numbers["bill"] != "0"
            assert numbers["stream"] != "0"
        assert comparisons[-1]["duplicates"] != "0"
        processes = [psutil.Process(demo.process.pid), *demo.children()]
        # The commands, and the Java programs of three of them.
        assert len(processes) >= 11

        demo.signal(signal.SIGINT)
        ran = demo.ended()
        assert ran.code == 0, ran.err
        assert [process for process in processes if process.is_running()] == []
        logs = {log.stem for log in (shell.folder / "demo" / "logs").glob("*.log")}
        assert logs >= PARTS
    finally:
        shell.end()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
