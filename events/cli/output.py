"""Results on standard output or in a file: all of a result, or an error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from json import dumps
from pathlib import Path

from events.domain.timestamps import format_timestamp
from events.errors import InvalidInput
from events.ingest.atomicfile import AtomicFile

#: A table is never cut: longer ids make it wider than any terminal.
_WIDEST_TABLE = 100_000


def write_result(text: str) -> None:
    """Like `write_pieces` for lines of text; adds the last line end."""
    write_pieces([encode(f"{text}\n")])


def write_json(value: object) -> None:
    """One line of JSON; times are written as in the API."""
    write_result(dumps(value, default=format_timestamp))


def write_pieces(pieces: Iterable[bytes]) -> None:
    """
    Write everything to standard output. A reader may stop early, as `head` does.

    Raises:
        InvalidInput: Standard output is closed, or the disk behind it is full.
    """
    if sys.stdout is None:
        raise InvalidInput("standard output is closed")
    try:
        for piece in pieces:
            # Unbuffered (PYTHONUNBUFFERED), one write to a nearly full disk may take only a part.
            rest = memoryview(piece)
            while rest:
                rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_buffer()
    except OSError as exc:
        _discard_buffer()
        raise InvalidInput(f"cannot write to standard output: {exc.strerror}") from exc


def _discard_buffer() -> None:
    """Keep Python from writing the rest of the buffer when it exits, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def encode(text: str) -> bytes:
    """Text in the encoding of standard output; characters that it lacks are escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace")


def write_file(path: Path, pieces: Iterable[bytes]) -> int:
    """
    Write a file that appears whole or not at all.

    Returns:
        The size in bytes.

    Raises:
        InvalidInput: The file cannot be written; an earlier file at `path` stays unchanged.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: name a file in it")
    size = 0
    try:
        with AtomicFile(path) as file:
            for piece in pieces:
                size += file.stream.write(piece)
            file.publish()
    except OSError as exc:
        raise InvalidInput(f"cannot write {path}: {exc.strerror}") from exc
    return size


def table_text(rows: Iterable[Sequence[str]], *, right: int | None = None) -> str:
    """
    Rows as lines of aligned columns, as wide as they need; empty columns are left out.

    Args:
        right: Index of the column that is aligned to the right.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    columns = [(index, cells) for index, cells in enumerate(zip(*rows, strict=True)) if any(cells)]
    for index, _ in columns:
        table.add_column(justify="right" if index == right else "left", no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*map(Text, row))
    console = Console(file=io.StringIO(), width=_WIDEST_TABLE, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
