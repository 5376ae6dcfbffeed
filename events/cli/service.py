"""The service that a command works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from events.cli import say

if TYPE_CHECKING:
    from events.config import Settings
    from events.service import EventService


def start_logging() -> Settings:
    """Send the logs of a process that serves to standard error; returns the settings."""
    from events.bootstrap import load_settings
    from events.telemetry import logs

    settings = load_settings()
    logs.configure(settings.events_log_format, settings.events_log_level)
    return settings


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
    service = make_service(
        settings, patience_seconds=INGEST_PATIENCE_SECONDS, may_make_tables=False
    )
    with closing(service):
        service.check(patience_seconds=SECONDS_TO_FIND_THE_STORE)
        if settings.events_counts == "windowed":
            say(
                "note: these are approximate streaming counts. An event that is more than "
                f"{settings.events_watermark_seconds:,} s older than the newest one is not counted"
            )
        yield service
