"""Files appear whole or not at all; pipes and devices are written directly."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.cli.output import write_file
from events.errors import InvalidInput


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"

    def pieces() -> Iterator[bytes]:
        yield b"one,"
        assert names(tmp_path) == []
        yield b"two"

    assert write_file(path, pieces()) == 7
    assert (path.read_bytes(), names(tmp_path)) == (b"one,two", ["out.csv"])


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"before")

    def pieces() -> Iterator[bytes]:
        yield b"one,"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, pieces())
    assert (path.read_bytes(), names(tmp_path)) == (b"before", ["out.csv"])


def test_two_runs_do_not_write_into_each_others_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.csv"

    def pieces() -> Iterator[bytes]:
        yield b"one,"
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 0)
            write_file(path, [b"other"])
        assert path.read_bytes() == b"other"
        yield b"two"

    write_file(path, pieces())
    assert (path.read_bytes(), names(tmp_path)) == (b"one,two", ["out.csv"])


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "out.csv")
    for content in (b"one", b"two"):
        write_file(link, [content])
        assert (tmp_path / "there" / "out.csv").read_bytes() == content
    assert (link.is_symlink(), names(tmp_path / "there")) == (True, ["out.csv"])


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, [b"one,", b"two"])
    reader.join()
    assert (read, pipe.is_fifo(), names(tmp_path)) == ([b"one,two"], True, ["pipe"])


@pytest.mark.parametrize("name", ["", ".", "/", "folder", "folder/"])
def test_a_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match="is a folder: name a file in it"):
        write_file(Path(name), [b"one"])
    assert names(tmp_path) == ["folder"]
