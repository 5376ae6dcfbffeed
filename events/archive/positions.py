"""Up to where a topic is archived: what a commit carries beside its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from events.errors import StoreRefused


@dataclass(frozen=True, slots=True)
class Position:
    """
    How far a table holds a topic.

    Args:
        topic_id: Kafka's own name of it, which one made anew under the same name does not have;
            empty where Kafka does not say.
        next_offsets: Partition → offset of the first message that is not in the table.
    """

    topic_id: str = ""
    next_offsets: Mapping[int, int] = field(default_factory=dict)

    def as_text(self) -> str:
        offsets = {str(each): self.next_offsets[each] for each in sorted(self.next_offsets)}
        return json.dumps({"topic_id": self.topic_id, "next_offsets": offsets})


def position_of(text: str) -> Position:
    """The position that a text holds; raises `StoreRefused` for any other text."""
    try:
        found = json.loads(text)
        offsets = {int(each): int(offset) for each, offset in found["next_offsets"].items()}
        return Position(str(found["topic_id"]), offsets)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise StoreRefused(f"{text[:100]!r} in the table is no position in a topic") from exc
