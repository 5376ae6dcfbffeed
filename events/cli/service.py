"""The service that a command works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from events.cli import say

if TYPE_CHECKING:
    from events.config import Settings
    from events.service import EventService


@contextmanager
def open_service(settings: Settings | None = None) -> Iterator[EventService]:
    """
    Open the service on existing tables.

    A mistyped table name must fail: it must not create empty tables and report success on them.
    A store that does not answer at all is reported within seconds, not after the whole patience.
    """
    from events.bootstrap import SECONDS_TO_FIND_THE_STORE, load_settings, make_service
    from events.config import INGEST_PATIENCE_SECONDS

    settings = settings or load_settings()
    patience = INGEST_PATIENCE_SECONDS
    with closing(
        make_service(settings, patience_seconds=patience, may_make_tables=False)
    ) as service:
        service.check(patience_seconds=SECONDS_TO_FIND_THE_STORE)
        if settings.events_counts == "windowed":
            say(
                "note: these are approximate streaming counts. An event that is more than "
                f"{settings.events_watermark_seconds:,} s older than the newest one is not counted"
            )
        yield service
