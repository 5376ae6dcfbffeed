"""The rejects file beside files that a run must not touch."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from events.errors import InvalidInput
from events.ingest.reading import Rejection
from events.ingest.rejects import RejectsFile

REJECTION = Rejection(3, "is bad", "row")


def test_a_pipe_for_rejects_is_not_deleted(tmp_path: Path) -> None:
    # Like `--rejects /dev/null`, which root could delete for the whole machine.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with RejectsFile(pipe, "a.csv", print):
            pass
    finally:
        os.close(reader)

    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_nothing_is_visible_until_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    messages: list[str] = []

    with RejectsFile(path, "a.csv", messages.append) as rejects:
        for _ in range(7):
            rejects.add(REJECTION)
        assert list(tmp_path.iterdir()) == []

    assert path.read_text() == "line,reason,row\n" + "3,is bad,row\n" * 7
    assert messages == ["rejected line 3: is bad"] * 5 + [f"more lines were rejected: see {path}"]


def test_an_error_in_the_run_still_publishes_the_rejected_rows(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"

    with pytest.raises(InvalidInput), RejectsFile(path, "a.csv", print) as rejects:  # noqa: PT012 - the block is the subject
        rejects.add(REJECTION)
        raise InvalidInput("cut off")

    assert path.read_text() == "line,reason,row\n3,is bad,row\n"
