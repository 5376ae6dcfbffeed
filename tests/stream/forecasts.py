"""Fills an archive without Kafka."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pyiceberg.catalog import Catalog

from events.archive.tables import RAW, ArchiveTable, Position
from events.models import Event

_TOPIC = "events"


def archive(catalog: Catalog, events: Iterable[Event], archived_at: datetime) -> None:
    """Commit events to the archive as one batch of the archiver."""
    table = ArchiveTable(catalog, RAW)
    before = table.position(_TOPIC)
    first = before.next_offsets.get(0, 0)
    rows = [(*one, 0, offset, archived_at) for offset, one in enumerate(events, first)]
    table.append(rows, _TOPIC, before=before, after=Position("", {0: first + len(rows)}))
