"""The file of rejected rows, and the first of them on the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import InvalidInput
from events.ingest.atomicfile import AtomicFile
from events.ingest.reading import Rejection

#: Rejections printed on the terminal; the file has all of them.
_PRINTED = 5


class RejectsFile:
    """
    Rejected rows as CSV: line number, reason, raw row; a context manager.

    On exit the file replaces the earlier run's file if a row was rejected; otherwise the earlier
    file is deleted. It never appears in part. A file that cannot be written raises `InvalidInput`
    at the start, before anything is read.
    """

    def __init__(
        self, path: Path, source: str, say: Callable[[str], None], *, is_named: bool = False
    ) -> None:
        """`is_named`: messages name `source`, because the run reads several files."""
        self._place = f" of {source}" if is_named else ""
        self.path = path
        self.count = 0
        self._say = say
        if path.exists() and Path(source).exists() and path.samefile(source):
            raise InvalidInput(f"{path} is the input file itself: name another file with --rejects")
        try:
            self._file = AtomicFile(path)
        except OSError as exc:
            raise InvalidInput(
                f"cannot write rejected rows to {path} ({exc.strerror}): name another file with "
                "--rejects"
            ) from exc
        self._text = io.TextIOWrapper(self._file.stream, encoding="utf-8", newline="")
        self._rows = csv.writer(self._text, lineterminator="\n")
        # The csv module does not quote a carriage return, and would read one as a line end.
        self._quoted_rows = csv.writer(self._text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._rows.writerow(("line", "reason", "row"))

    def add(self, rejection: Rejection) -> None:
        self.count += 1
        rows = self._quoted_rows if "\r" in rejection.row else self._rows
        with self._writing():
            rows.writerow(rejection)
        if self.count <= _PRINTED:
            self._say(f"rejected line {rejection.line:,}{self._place}: {rejection.reason}")
        elif self.count == _PRINTED + 1:
            self._say(f"more lines were rejected: see {self.path}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise InvalidInput(
                f"cannot write rejected rows to {self.path} ({exc.strerror}): free some space, or "
                "name another file with --rejects"
            ) from exc

    def __enter__(self) -> RejectsFile:
        return self

    def __exit__(self, *_: object) -> None:
        with self._writing(), self._file:
            if self.count or self._file.is_special:
                self._text.flush()
                self._file.publish()
            else:
                self.path.unlink(missing_ok=True)
