"""Files that appear whole or not at all, however the process ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Self


class AtomicFile:
    """
    A file whose content appears at `path` when `publish` is called; a context manager.

    Until then the bytes are in a nameless file in the same folder, so that even `kill -9` leaves
    nothing behind. A pipe or device at `path` is written directly; of a symbolic link, the target
    is written.
    """

    def __init__(self, path: Path) -> None:
        self.is_special = path.exists() and not path.is_file()
        self._target = path.resolve()
        self.stream: IO[bytes] = (
            path.open("wb") if self.is_special else tempfile.TemporaryFile(dir=self._target.parent)  # noqa: SIM115 - closed by __exit__
        )

    def publish(self) -> None:
        """Make what was written visible, in place of an earlier file."""
        self.stream.flush()
        if self.is_special:
            return
        # The process id keeps two runs that write the same file apart.
        partial = self._target.with_name(f"{self._target.name}.{os.getpid()}.part")
        try:
            self.stream.seek(0)
            with partial.open("wb") as file:
                shutil.copyfileobj(self.stream, file)
            partial.replace(self._target)
        finally:
            partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
