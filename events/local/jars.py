"""Jars from Maven Central, fetched once into the checkout."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from pathlib import Path

from events.local.server import LocalServerError

CHECKOUT = Path(__file__).parents[2]
#: Ignored by git. The licence of DynamoDB Local forbids redistribution: never commit a jar.
FOLDER = CHECKOUT / ".local"


def fetch(name: str, coordinates: str, folder: Path, *, instead: str = "") -> Path:
    """
    The folder with the jars of a program, fetched where it is not there.

    It appears whole or not at all: a run that was cut off leaves nothing that looks complete.

    Args:
        name: What is fetched, for whoever reads an error.
        coordinates: `group:artifact:version`, several with `+` between; what these need comes too.
        instead: What to do where it cannot be fetched, for that error.

    Raises:
        LocalServerError: It could not be fetched.
    """
    if folder.is_dir():
        return folder
    # Slow to import, and needed once in a checkout's life.
    import jgo

    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        for artifact in jgo.resolve(coordinates):
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
    return folder


def _check_jar(jar: Path) -> None:
    """A download that was cut off is removed, so that the next run fetches it again."""
    if jar.suffix == ".jar" and not zipfile.is_zipfile(jar):
        with contextlib.suppress(FileNotFoundError):
            jar.unlink()
        raise LocalServerError(f"{jar.name} arrived cut off: run again to fetch it anew")
