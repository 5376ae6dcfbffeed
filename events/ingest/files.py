"""Open files and standard input."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

from events.errors import InvalidInput
from events.ingest.source import BLOCK_BYTES, LineInput


def open_lines(path: str, *, block_bytes: int = BLOCK_BYTES) -> LineInput:
    """Open a file of events; `-` is standard input."""
    if path == "-":
        if sys.stdin is None:
            raise InvalidInput("standard input is closed")
        # At run time this is a BufferedReader.
        stdin = cast(io.BufferedIOBase, sys.stdin.buffer)
        return LineInput("standard input", stdin, is_owned=False, block_bytes=block_bytes)
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - the LineInput closes it
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise InvalidInput(f"{path}: {_why_not_open(exc)}") from exc
    return LineInput(path, file, is_owned=True, block_bytes=block_bytes)


@contextmanager
def reopenable(path: str) -> Iterator[Callable[[], LineInput]]:
    """What opens the same input each time it is called; a stream is copied to a temporary file."""
    if path != "-" and (Path(path).is_file() or not Path(path).exists()):
        yield partial(open_lines, path)
        return
    with open_lines(path) as stream, tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream.file, copy)

        def open_copy() -> LineInput:
            copy.seek(0)
            file = cast(io.BufferedIOBase, copy)
            return LineInput(stream.name, file, is_owned=False, block_bytes=BLOCK_BYTES)

        yield open_copy


def _why_not_open(exc: OSError | ValueError) -> str:
    match exc:
        case FileNotFoundError():
            return "file not found"
        case IsADirectoryError():
            return "is a directory: name a file in it"
        case PermissionError():
            return "no permission to read this file"
        case OSError(strerror=str(reason)):
            return f"cannot be opened: {reason}"
    return f"cannot be opened: {exc}"
