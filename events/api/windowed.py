"""What an answer says of itself where its counts are those of a stream."""

from __future__ import annotations

from typing import Any

from events.config import Settings

_NAME = "Events-Counts"
#: For the description of the API.
WINDOWED_HEADER: dict[str, Any] = {
    _NAME: {
        "description": "Only where `EVENTS_COUNTS` is `windowed`, in every format: an event that "
        "came later than this many seconds after the newest one is not counted.",
        "schema": {"type": "string"},
        "example": "windowed; watermark=86400",
    }
}


def windowed_headers(settings: Settings) -> dict[str, str]:
    """How late is too late; nothing where the counts are exact."""
    if settings.events_counts == "exact":
        return {}
    return {_NAME: f"windowed; watermark={settings.events_watermark_seconds}"}
