"""Download jars from Maven Central, once, into the checkout or the user's data folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from events.local.javaserver import LocalServerError

if TYPE_CHECKING:
    from jgo.maven import Artifact

CHECKOUT = Path(__file__).parents[2]
_DATA_HOME = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
#: In a checkout ignored by git. The license of DynamoDB Local forbids redistribution: never commit
#: a jar.
FOLDER = CHECKOUT / ".local" if (CHECKOUT / "pyproject.toml").exists() else _DATA_HOME / "events"


def fetch(
    name: str,
    coordinates: str,
    folder: Path,
    *,
    instead: str = "",
    is_with_dependencies: bool = True,
) -> Path:
    """
    The folder with the jars of a program; downloaded if missing.

    The folder appears whole or not at all, so an interrupted download never looks complete. Of
    several processes that need it at the same time, one downloads and the others wait.

    Args:
        name: The program's name in error messages.
        coordinates: `group:artifact:version`; several are joined by `+`.
        instead: The end of the error message: what to do if the download fails.
        is_with_dependencies: Whether to download the dependencies too.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Also because the processes share jgo's cache, which allows one writer.
    with (folder.parent / "fetch.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
        try:
            for artifact in _artifacts(coordinates, is_with_dependencies):
                jar = Path(artifact.resolve())
                _check_jar(jar)
                shutil.copy(jar, partial / jar.name)
            partial.rename(folder)
        except LocalServerError:
            raise
        except Exception as exc:
            problem = f"cannot download {name} from Maven Central: {exc}"
            raise LocalServerError(f"{problem}. Check the network and run again{instead}") from exc
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _artifacts(coordinates: str, is_with_dependencies: bool) -> Iterable[Artifact]:
    # Imported here: slow, and needed once per checkout.
    import jgo
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    if is_with_dependencies:
        return jgo.resolve(coordinates)
    # jgo.resolve always adds the dependencies; its Maven layer can resolve single artifacts.
    context = MavenContext(
        repo_cache=GlobalSettings.load().repo_cache, remote_repos={"central": MAVEN_CENTRAL_URL}
    )
    return [context.create_dependency(name).artifact for name in coordinates.split("+")]


def _check_jar(jar: Path) -> None:
    """Delete a truncated download, so that the next run downloads it again."""
    if jar.suffix == ".jar" and not zipfile.is_zipfile(jar):
        jar.unlink(missing_ok=True)
        raise LocalServerError(f"the download of {jar.name} is incomplete: run again")
