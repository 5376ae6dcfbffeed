"""The files of a command: which they are, and how they are read."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from events.cli import say
from events.errors import InvalidInput
from events.models import Outcome

if TYPE_CHECKING:
    from events.config import Settings
    from events.ingest.interrupts import Interrupts
    from events.ingest.load import LoadResult, Sink
    from events.ingest.reading import Reading
    from events.ingest.source import LineInput

_REJECTS = ".rejects.csv"


class Destination(NamedTuple):
    """Where the events of a file go."""

    #: The past participle for messages: events are "stored".
    done: str
    #: The word in the summary for each outcome.
    labels: Mapping[Outcome, str]
    #: Connects; fails within seconds if nothing answers. A signal may interrupt it.
    open: Callable[[Settings, Interrupts], AbstractContextManager[Sink]]
    #: How to start a local one if nothing answers; may be empty.
    hint: Callable[[Settings], str]


@dataclass(frozen=True, slots=True)
class Load:
    """Files of events, how to read them, and where their events go."""

    files: Sequence[str]
    is_dry_run: bool
    is_json: bool
    rejects: Path | None
    reading: Reading
    destination: Destination

    def rejects_path(self, file: str) -> Path:
        return self.rejects or rejects_path(file)


@dataclass(slots=True)
class FileResult:
    """The receipts of one file; `problem` is why it was not read to its end."""

    file: str
    counts: LoadResult
    ignored: list[str] = field(default_factory=list)
    problem: str = ""


def title(file: str) -> str:
    return "standard input" if file == "-" else file


def rejects_path(file: str) -> Path:
    return Path(f"{'stdin' if file == '-' else file}{_REJECTS}")


def expand(arguments: Sequence[str]) -> list[str]:
    """
    The files that the arguments name: paths, and patterns such as `2024-*.csv`.

    The rejected rows of an earlier run are left out if there are several files. Raises
    `InvalidInput` if a pattern matches nothing or a file cannot be opened.
    """
    from events.ingest.files import open_lines

    files: list[str] = []
    for argument in arguments:
        if not glob.has_magic(argument) or Path(argument).exists():
            files.append(argument)
            continue
        matches = sorted(
            match
            for match in glob.glob(argument, recursive=True)  # noqa: PTH207 - any path, also absolute
            if Path(match).is_file()
        )
        if not matches:
            raise InvalidInput(f"{argument}: no file matches this pattern")
        files += matches
    if len(files) > 1:
        for file in [file for file in files if file.endswith(_REJECTS)]:
            say(f"{file}: not read, because it has the rejected rows of an earlier run")
            files.remove(file)
    if not files:
        raise InvalidInput("no other files are named")
    for file in files:
        if not _is_stream(file):
            open_lines(file).__exit__()
    return list(dict.fromkeys(files))


def _is_stream(file: str) -> bool:
    """Whether a file can be opened only once."""
    try:
        return file == "-" or Path(file).is_fifo()
    except OSError:  # `open_lines` says why
        return False


@contextmanager
def opened(file: str, reading: Reading) -> Iterator[tuple[LineInput, Reading]]:
    """A file to read; with the format `auto` it is read once before, to find the format."""
    from events.domain.timeformats import AUTO
    from events.ingest.files import open_lines, reopenable
    from events.ingest.records import with_format_found

    if reading.timestamp_format != AUTO:
        with open_lines(file) as source:
            yield source, reading
        return
    with reopenable(file) as reopen:
        with reopen() as source:
            try:
                reading = with_format_found(source, reading)
            except InvalidInput as exc:
                raise InvalidInput(f"{exc}. Nothing of this file is stored") from exc
        with reopen() as source:
            yield source, reading
