"""Jars are downloaded once, whole, by one process at a time."""

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
    """What jgo returns for one jar."""

    def __init__(self, resolve: Callable[[], Path]) -> None:
        self.resolve = resolve


def _jar(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("Main.class", b"")
    return path


def test_concurrent_downloads_of_one_program_happen_once(
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
        results = list(pool.map(lambda folder: jars.fetch("It", folder.name, folder), folders))
    assert results == folders
    assert sorted(resolved) == ["first", "second"]
    for folder in folders:
        assert [path.name for path in folder.iterdir()] == ["one.jar"]


def test_an_incomplete_jar_leaves_nothing_and_is_downloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, folder = tmp_path / "one.jar", tmp_path / "local" / "it"
    broken.write_bytes(b"PK cut off")
    monkeypatch.setattr(jgo, "resolve", lambda _: [_Artifact(lambda: broken)])
    with pytest.raises(LocalServerError, match=r"download of one\.jar is incomplete: run again"):
        jars.fetch("It", "it", folder)
    assert not broken.exists()
    assert not folder.exists()

    _jar(broken)
    assert jars.fetch("It", "it", folder) == folder
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["it"]


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(_: str) -> list[_Artifact]:
        raise OSError("no route to host")

    monkeypatch.setattr(jgo, "resolve", resolve)
    with pytest.raises(LocalServerError) as raised:
        jars.fetch("It 1.0", "it", tmp_path / "it", instead=", or set IT_HOME")
    assert str(raised.value) == (
        "cannot download It 1.0 from Maven Central: no route to host. Check the network and run "
        "again, or set IT_HOME"
    )
