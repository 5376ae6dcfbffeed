"""Where the events of a client wait: in memory, or in files that survive a crash."""

from __future__ import annotations

import errno
from collections import deque
from itertools import islice
from pathlib import Path

#: A file is deleted when all its events are settled.
_FILE_BYTES = 1_048_576


class QueueFull(Exception):
    """An event was not queued, because the memory for waiting events is full."""


class MemoryQueue:
    """Lines in memory; not safe to use from several threads at the same time."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lines: deque[bytes] = deque()

    def append(self, line: bytes) -> None:
        if self._bytes + len(line) > self._max_bytes:
            raise QueueFull(
                f"{len(self._lines):,} events wait for the API: send fewer, or give the client "
                "more memory (max_queued_bytes) or a spill_folder"
            )
        self._lines.append(line)
        self._bytes += len(line)

    def first(self, number: int) -> list[bytes]:
        return list(islice(self._lines, number))

    def drop(self, lines: list[bytes]) -> None:
        """Drop these first lines."""
        for _ in lines:
            self._bytes -= len(self._lines.popleft())

    def close(self) -> None:
        pass


class DiskQueue:
    """
    Lines in files of a folder, oldest first; not safe to use from several threads at once.

    A line survives the end of the process as soon as `append` returns. Lines that were settled
    shortly before a crash are sent again, which is safe.
    """

    def __init__(self, folder: Path) -> None:
        import fcntl  # not on Windows

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            self._lock.close()
            raise ValueError(f"another client uses the spill folder {folder}") from exc
        self._files = deque(sorted(folder.glob("*.jsonl")))
        self._number = int(self._files[-1].stem) if self._files else 0
        self._lines = sum(self._count(file) for file in self._files)
        #: Where the first line that is not settled begins, in the first file.
        self._offset = 0
        # Never an old file: its last line may be cut off.
        self._new_file()

    def __len__(self) -> int:
        return self._lines

    @staticmethod
    def _count(file: Path) -> int:
        with file.open("rb") as stream:
            return sum(line.endswith(b"\n") for line in stream)

    def _new_file(self) -> None:
        self._number += 1
        file = self._folder / f"{self._number:012d}.jsonl"
        self._output = file.open("xb", buffering=0)
        self._files.append(file)

    def append(self, line: bytes) -> None:
        size = self._output.tell()
        if size >= _FILE_BYTES:
            self._output.close()
            self._new_file()
            size = 0
        if self._output.write(line) != len(line):  # the disk became full inside the line
            self._output.truncate(size)
            self._output.seek(size)
            raise OSError(errno.ENOSPC, "no space left on the disk", str(self._folder))
        self._lines += 1

    def first(self, number: int) -> list[bytes]:
        while True:
            with self._files[0].open("rb") as stream:
                stream.seek(self._offset)
                # The last line of a file is cut off if the process was killed while writing it.
                lines = [line for line in islice(stream, number) if line.endswith(b"\n")]
            if lines or len(self._files) == 1:
                return lines
            self._files.popleft().unlink()
            self._offset = 0

    def drop(self, lines: list[bytes]) -> None:
        """Drop these first lines, as `first` gave them."""
        self._offset += sum(map(len, lines))
        self._lines -= len(lines)
        if not self._lines:
            self._output.close()
            while self._files:
                self._files.popleft().unlink()
            self._offset = 0
            self._new_file()

    def close(self) -> None:
        self._output.close()
        if not self._lines:
            self._files[0].unlink()
        self._lock.close()
