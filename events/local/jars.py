"""Jars from Maven Central, fetched once into the checkout."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from events.local.javaserver import LocalServerError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from jgo.maven import Artifact

CHECKOUT = Path(__file__).parents[2]
#: Ignored by git. The licence of DynamoDB Local forbids redistribution: never commit a jar.
FOLDER = CHECKOUT / ".local"


def fetch(
    name: str,
    coordinates: str,
    folder: Path,
    *,
    instead: str = "",
    is_with_dependencies: bool = True,
) -> Path:
    """
    The folder with the jars of a program, fetched where it is not there.

    It appears whole or not at all: a run that was cut off leaves nothing that looks complete.
    Processes that need it at once fetch it once.

    Args:
        name: What is fetched, for whoever reads an error.
        coordinates: `group:artifact:version`, several with `+` between.
        instead: What to do where it cannot be fetched, for that error.
        is_with_dependencies: What these need comes too.

    Raises:
        LocalServerError: It could not be fetched.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent):
        if not folder.is_dir():
            _fetch(name, coordinates, folder, instead, is_with_dependencies)
    return folder


@contextlib.contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Wait for others that fetch: jgo's cache, which they share, takes one writer at a time."""
    with (parent / "fetch.lock").open("wb") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(
    name: str, coordinates: str, folder: Path, instead: str, is_with_dependencies: bool
) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        for artifact in _artifacts(coordinates, is_with_dependencies):
            jar = Path(artifact.resolve())
            _check_jar(jar)
            shutil.copy(jar, partial / jar.name)
        try:
            partial.rename(folder)
        except OSError:
            # Another process was first; what it put there is whole.
            if not folder.is_dir():
                raise
    except LocalServerError:
        raise
    except Exception as exc:
        raise LocalServerError(
            f"{name} could not be fetched from Maven Central: {exc}. Check the network and run "
            f"again{instead}"
        ) from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _artifacts(coordinates: str, is_with_dependencies: bool) -> Iterable[Artifact]:
    # Slow to import, and needed once in a checkout's life.
    import jgo
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    if is_with_dependencies:
        return jgo.resolve(coordinates)
    # jgo itself resolves all or nothing; of single artifacts its lower half knows.
    context = MavenContext(
        repo_cache=GlobalSettings.load().repo_cache, remote_repos={"central": MAVEN_CENTRAL_URL}
    )
    return [context.create_dependency(each).artifact for each in coordinates.split("+")]


def _check_jar(jar: Path) -> None:
    """A download that was cut off is removed, so that the next run fetches it again."""
    if jar.suffix == ".jar" and not zipfile.is_zipfile(jar):
        with contextlib.suppress(FileNotFoundError):
            jar.unlink()
        raise LocalServerError(f"{jar.name} arrived cut off: run again to fetch it anew")
