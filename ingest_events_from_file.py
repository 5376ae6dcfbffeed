"""Store and count the events of a CSV file: `python ingest_events_from_file.py FILE`."""

from __future__ import annotations

import sys

from events.cli.load import main
from events.domain.timestamps import convert_to_iso_8601_utc

__all__ = ["convert_to_iso_8601_utc", "main"]

if __name__ == "__main__":
    sys.exit(main())
