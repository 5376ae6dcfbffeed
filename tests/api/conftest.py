"""The API in process, on a store in memory: see tests/api/test_smoke.py for a real database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from events.config import Settings
from tests.support.api import Api, serving
from tests.support.sqlstore import MemoryStore


@pytest.fixture
def memory() -> MemoryStore:
    """The store of the fixture `api`, and its back door; empty at first."""
    return MemoryStore()


@pytest.fixture
def api(memory: MemoryStore) -> Iterator[Api]:
    """The API on a store of this test."""
    with serving(Settings(), memory) as api:
        yield api
