"""Which offset may be committed: the one before which every message is settled; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

#: Holes kept for each partition between two checks; if there are more, the oldest are dropped.
_MAX_HOLES = 10_000


class OpenOffset:
    """The offset of a message that was read, until the message is settled."""

    __slots__ = ("_partition", "is_settled", "offset")

    def __init__(self, partition: _Partition, offset: int) -> None:
        self._partition = partition
        self.offset = offset
        self.is_settled = False

    @property
    def is_ours(self) -> bool:
        """Whether we kept the partition since the message was read."""
        return self._partition.is_ours

    def settle(self) -> None:
        """Note that the event is stored and counted, or that its dead letter is acknowledged."""
        self.is_settled = True
        partition = self._partition
        while partition.open and partition.open[0].is_settled:
            partition.next_offset = partition.open.popleft().offset + 1


class _Partition:
    def __init__(self, committed: int | None) -> None:
        self.is_ours = True
        #: Offsets read, in order, from the first unsettled one.
        self.open: deque[OpenOffset] = deque()
        #: Everything before it is settled; None until something is.
        self.next_offset: int | None = None
        self.committed = committed
        #: The offset that should be read next; None if that is unknown.
        self.expected = committed
        #: Offsets `[first, end)` that were skipped.
        self.holes: deque[tuple[int, int]] = deque(maxlen=_MAX_HOLES)

    def read(self, offset: int, *, skipped_to: int) -> OpenOffset:
        # `skipped_to < expected`: the log was truncated, and what follows is new.
        if self.expected is not None and skipped_to > self.expected:
            self.holes.append((self.expected, skipped_to))
        self.expected = offset + 1
        entry = OpenOffset(self, offset)
        self.open.append(entry)
        return entry


class Offsets:
    """
    The offsets read from each partition, and how far all messages are settled.

    Dropping a partition forgets its offsets. Work that is still in flight for them changes nothing
    here when it finishes, even if the same partition comes back meanwhile.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def assign(self, partition: int, *, committed: int | None = None) -> None:
        """Start a partition; `committed` is the group's offset, None if unknown or none."""
        self._partitions[partition] = _Partition(committed)

    def drop(self, partition: int) -> None:
        if (dropped := self._partitions.pop(partition, None)) is not None:
            dropped.is_ours = False

    @property
    def partitions(self) -> frozenset[int]:
        return frozenset(self._partitions)

    def read(self, partition: int, offset: int) -> OpenOffset | None:
        """
        Note that a message was read; returns None if the partition is not ours.

        Offsets ascend, with holes where messages were deleted or compacted away. They go back if
        the log was truncated (an unclean leader election): messages from there on are new, and
        their offsets are committed once everything read before is settled.
        """
        ours = self._partitions.get(partition)
        return None if ours is None else ours.read(offset, skipped_to=offset)

    def reach_end(self, partition: int, end: int) -> None:
        """Note that everything before `end` was read; holes before it are not messages."""
        ours = self._partitions.get(partition)
        if ours is not None and 1 <= end != ours.expected:
            ours.read(end - 1, skipped_to=end).settle()

    @property
    def holes(self) -> Mapping[int, deque[tuple[int, int]]]:
        """Partition → skipped offsets `[first, end)`; the caller clears what it has handled."""
        return {
            number: partition.holes
            for number, partition in self._partitions.items()
            if partition.holes
        }

    def uncommitted(self) -> dict[int, int]:
        """Partition → the offset to commit, if it is not committed yet."""
        return {
            number: partition.next_offset
            for number, partition in self._partitions.items()
            if partition.next_offset is not None and partition.next_offset != partition.committed
        }

    def note_committed(self, partition: int, offset: int) -> None:
        if (ours := self._partitions.get(partition)) is not None:
            ours.committed = offset

    def committed_offset(self, partition: int) -> int | None:
        return self._partitions[partition].committed

    def start_of(self, partition: int) -> int | None:
        """Where the partition's next owner would start, if that is known."""
        ours = self._partitions[partition]
        if ours.committed is None and ours.next_offset is None and ours.open:
            return ours.open[0].offset
        return ours.next_offset if ours.committed is None else ours.committed

    @property
    def open(self) -> int:
        """Offsets read from the first unsettled one on, in all partitions."""
        return sum(len(partition.open) for partition in self._partitions.values())

    def open_of(self, partition: int) -> int:
        ours = self._partitions.get(partition)
        return 0 if ours is None else len(ours.open)
