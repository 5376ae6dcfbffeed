"""The features as they were known at a time."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from events.domain.timestamps import format_timestamp
from events.errors import InvalidInput

_KEY = ["customer_id", "event_type", "hour"]


def as_known(
    versions: pd.DataFrame, at: datetime | None = None, *, with_late: bool = False
) -> pd.DataFrame:
    """
    One row per hour, ordered by customer, event type and hour.

    Args:
        versions: All rows of the table.
        at: Only hours before this time, as they were known then; None is now.
        with_late: With the events of these hours that became known later.

    Raises:
        InvalidInput: Nothing was known then.
    """
    frame = versions
    if at is not None:
        frame = frame[(frame.hour < at) & (with_late | (frame.known_at <= at))]
        if frame.empty:
            raise InvalidInput(
                f"nothing was known at {format_timestamp(at)}: choose a later time, or, if the "
                "archive was filled later, --with-late"
            )
    return frame.sort_values([*_KEY, "known_at"]).drop_duplicates(
        _KEY, keep="last", ignore_index=True
    )
