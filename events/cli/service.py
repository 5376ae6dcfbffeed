"""The service that a command works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from events.bootstrap import SECONDS_TO_FIND_THE_STORE, load_settings, make_service
from events.cli import say
from events.config import INGEST_PATIENCE_SECONDS, Settings
from events.service import EventService


@contextmanager
def opened_service(settings: Settings | None = None) -> Iterator[EventService]:
    """
    A service on tables that are there, closed at the end; says it where its counts are windowed.

    A name that is wrong by a letter makes none: it must not come out as a correction, a count or a
    proof on empty tables.
    """
    settings = settings or load_settings()
    service = make_service(
        settings, patience_seconds=INGEST_PATIENCE_SECONDS, may_make_tables=False
    )
    try:
        # A store that is not there is said soon, not after the whole patience.
        service.check(patience_seconds=SECONDS_TO_FIND_THE_STORE)
        if settings.events_counts == "windowed":
            say(
                "the counts are windowed: an event that came more than "
                f"{settings.events_watermark_seconds:,} s after the newest one is not among them"
            )
        yield service
    finally:
        service.close()
