"""Standard output, and files that are there once they are whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from events.errors import InvalidInput


class _NobodyReads(Exception):
    """Whoever read has enough of it."""


class StandardOutput:
    """Where results go, all of each or an error; see `standard_output`."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise InvalidInput("standard output is closed")
        self.encoding = sys.stdout.encoding or "utf-8"

    def write(self, piece: bytes) -> None:
        try:
            _write_all(sys.stdout.buffer, piece)
        except OSError as exc:
            raise _why(exc) from exc

    def write_text(self, text: str) -> None:
        """What the encoding lacks is written out."""
        self.write(text.encode(self.encoding, "backslashreplace"))

    def flush(self) -> None:
        try:
            sys.stdout.flush()
        except OSError as exc:
            raise _why(exc) from exc


def _why(exc: OSError) -> Exception:
    # What is buffered still would fail again when the interpreter ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(exc, BrokenPipeError):
        return _NobodyReads()
    return InvalidInput(f"standard output cannot be written: {exc.strerror}")


@contextmanager
def standard_output() -> Iterator[StandardOutput]:
    """
    Standard output, until nobody reads it any more: `head` soon has enough.

    Raises:
        InvalidInput: It is closed, or not all of it can be written.
    """
    output = StandardOutput()
    try:
        yield output
        output.flush()
    except _NobodyReads:
        pass


def write_result(text: str) -> None:
    """
    Lines on standard output, the last one ended too.

    Raises:
        InvalidInput: As `standard_output`.
    """
    with standard_output() as output:
        output.write_text(f"{text}\n")


def write_file(path: Path, pieces: Iterable[bytes]) -> int:
    """
    Under another name until it is whole: what is cut off must not be taken for all.

    A pipe or a device is written to as it is, and the file that a link names is written, not the
    link.

    Returns:
        How many bytes there are.

    Raises:
        InvalidInput: It cannot be written; a file that was there is as it was.
    """
    try:
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder: name a file in it")
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                return _write(file, pieces)
        target = path.resolve()
        # Another run that writes the same file has another name.
        partial = target.parent / f"{target.name}.{os.getpid()}.part"
        try:
            with partial.open("wb") as file:
                size = _write(file, pieces)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be written: {exc.strerror}") from exc
    return size


def _write(file: BinaryIO, pieces: Iterable[bytes]) -> int:
    size = 0
    for piece in pieces:
        _write_all(file, piece)
        size += len(piece)
    return size


def _write_all(file: BinaryIO, piece: bytes) -> None:
    # Where nothing is buffered (PYTHONUNBUFFERED), a disk that is nearly full takes a part.
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]
