"""Jars are fetched once, whole, by one process at a time."""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jgo
import pytest

from events.local import jars
from events.local.javaserver import LocalServerError


class _Artifact:
    """What jgo gives for one jar."""

    def __init__(self, resolve: Callable[[], Path]) -> None:
        self.resolve = resolve


def _jar(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("Main.class", b"")
    return path


def test_who_needs_the_same_at_once_waits_for_the_first_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = threading.Semaphore(1)
    resolved: list[str] = []

    def resolve(coordinates: str) -> list[_Artifact]:
        assert inside.acquire(blocking=False), "two write into jgo's cache at once"
        resolved.append(coordinates)
        time.sleep(0.05)
        inside.release()
        return [_Artifact(lambda: _jar(tmp_path / "one.jar"))]

    monkeypatch.setattr(jgo, "resolve", resolve)
    folders = [tmp_path / "local" / name for name in ("first", "second") * 4]
    with ThreadPoolExecutor(len(folders)) as pool:
        found = list(pool.map(lambda folder: jars.fetch("It", folder.name, folder), folders))
    assert found == folders
    assert sorted(resolved) == ["first", "second"]
    for folder in folders:
        assert [each.name for each in folder.iterdir()] == ["one.jar"]


def test_a_jar_that_arrived_cut_off_leaves_nothing_and_is_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, folder = tmp_path / "one.jar", tmp_path / "local" / "it"
    broken.write_bytes(b"PK cut off")
    monkeypatch.setattr(jgo, "resolve", lambda _: [_Artifact(lambda: broken)])
    with pytest.raises(LocalServerError, match=r"one\.jar arrived cut off: run again"):
        jars.fetch("It", "it", folder)
    assert not broken.exists()
    assert not folder.exists()

    _jar(broken)
    assert jars.fetch("It", "it", folder) == folder
    assert [each.name for each in folder.parent.iterdir() if each.is_dir()] == ["it"]


def test_what_cannot_be_fetched_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(_: str) -> list[_Artifact]:
        raise OSError("no route to host")

    monkeypatch.setattr(jgo, "resolve", resolve)
    with pytest.raises(LocalServerError) as raised:
        jars.fetch("It 1.0", "it", tmp_path / "it", instead=", or set IT_HOME")
    assert str(raised.value) == (
        "It 1.0 could not be fetched from Maven Central: no route to host. Check the network and "
        "run again, or set IT_HOME"
    )
