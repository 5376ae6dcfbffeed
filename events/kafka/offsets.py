"""Which offset may be committed: the one before which nothing is left to do; pure."""

from __future__ import annotations

from collections import deque


class Place:
    """One message that was read, until it is done."""

    __slots__ = ("_holder", "is_done", "offset")

    def __init__(self, holder: _Partition, offset: int) -> None:
        self._holder = holder
        self.offset = offset
        self.is_done = False

    @property
    def is_ours(self) -> bool:
        """Whether its partition was not dropped since it was read."""
        return self._holder.is_ours

    def done(self) -> None:
        """Note that it is counted for good, or in the topic of the dead letters."""
        self.is_done = True
        holder = self._holder
        while holder.places and holder.places[0].is_done:
            holder.next_offset = holder.places.popleft().offset + 1


class _Partition:
    def __init__(self) -> None:
        self.is_ours = True
        #: What was read from the first message on that is not done, in order.
        self.places: deque[Place] = deque()
        #: Everything before it is done; None until something is.
        self.next_offset: int | None = None
        self.committed: int | None = None
        self.last_taken = -1


class Offsets:
    """
    The messages read of each partition, and how far all of them are done.

    A partition that is dropped forgets what it held: what is still under way of it is done to the
    end by whoever does it, and changes nothing here, also after the same partition comes back.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def assign(self, partition: int) -> None:
        self._partitions[partition] = _Partition()

    def drop(self, partition: int) -> None:
        found = self._partitions.pop(partition, None)
        if found is not None:
            found.is_ours = False

    @property
    def partitions(self) -> frozenset[int]:
        return frozenset(self._partitions)

    def take(self, partition: int, offset: int) -> Place | None:
        """
        Note that a message was read; None where it is not ours to do.

        Offsets of a partition ascend, with gaps where messages were compacted away. They go back
        where its log was cut (an unclean election): what is read from there on is new, and so is
        what may be committed, once all that was read before is done.
        """
        found = self._partitions.get(partition)
        if found is None:
            return None
        place = Place(found, offset)
        found.places.append(place)
        found.last_taken = offset
        return place

    def at_end(self, partition: int, end: int) -> None:
        """Note that everything before `end` was read; what lies there unread is no message."""
        found = self._partitions.get(partition)
        if end < 1 or found is None or found.last_taken == end - 1:
            return
        if (place := self.take(partition, end - 1)) is not None:
            place.done()

    def uncommitted(self) -> dict[int, int]:
        """By partition, the offset to commit, where it is not committed yet."""
        return {
            number: found.next_offset
            for number, found in self._partitions.items()
            if found.next_offset is not None and found.next_offset != found.committed
        }

    def committed(self, partition: int, offset: int) -> None:
        """Note that the broker has it."""
        found = self._partitions.get(partition)
        if found is not None:
            found.committed = offset

    def committed_offset(self, partition: int) -> int | None:
        found = self._partitions.get(partition)
        return None if found is None else found.committed

    def begin_of(self, partition: int) -> int | None:
        """Where the next owner would begin, as far as it is known."""
        found = self._partitions.get(partition)
        if found is None or found.committed is not None or not found.places:
            return None if found is None else found.committed or found.next_offset
        return found.places[0].offset if found.next_offset is None else found.next_offset

    @property
    def open(self) -> int:
        """Messages from the first one on that is not done, of all partitions."""
        return sum(len(found.places) for found in self._partitions.values())

    def open_of(self, partition: int) -> int:
        found = self._partitions.get(partition)
        return 0 if found is None else len(found.places)
