"""How many of our files a request passes, so that one can read its whole path."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import events
from events.config import Settings
from events.dao import DynamoStore
from tests.support.api import serving
from tests.support.factories import event

ROOT = Path(events.__file__).parent
#: Merge or cut before you raise this bound.
MAX_FILES = 21


@contextmanager
def profiling() -> Iterator[set[str]]:
    """Our files with a function that this thread, or a thread that starts here, calls."""
    paths: set[str] = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            paths.add(frame.f_code.co_filename)

    before = sys.getprofile()
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield paths
    finally:
        sys.setprofile(before)
        threading.setprofile(None)


def test_a_post_to_the_database_passes_few_files(settings: Settings, store: DynamoStore) -> None:
    assert store
    with profiling() as paths, serving(settings) as api:
        api.send(event("first"))  # creates what later requests reuse
        paths.clear()
        response = api.send(event("second", customer_id="globex"))
        passed = {Path(path) for path in list(paths)}
    assert response.json()["inserted"] == 1
    files = sorted(str(path.relative_to(ROOT)) for path in passed if path.is_relative_to(ROOT))
    assert {"api/routes/ingest.py", "service.py", "dynamodb/transactions.py"} <= set(files)
    assert len(files) <= MAX_FILES, files
