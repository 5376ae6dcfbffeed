"""Tables, and shells for commands that run as real processes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from events.config import Settings
from tests.support.shell import Shell
from tests.support.tables import Tables


@contextmanager
def dropped_at_end(endpoint_url: str, name: str | None = None) -> Iterator[Tables]:
    """Tables that are not there yet."""
    tables = Tables(endpoint_url, name or f"t{uuid.uuid4().hex}")
    try:
        yield tables
    finally:
        tables.drop_tables()
        tables.client.close()


@contextmanager
def shell_on(tables: Tables, folder: Path, **settings: str) -> Iterator[Shell]:
    """A shell whose commands use these tables."""
    where = {
        "DYNAMODB_ENDPOINT_URL": tables.client.meta.endpoint_url,
        "DYNAMODB_EVENTS_TABLE_NAME": tables.name,
    }
    shell = Shell(folder / "here", where | settings)
    try:
        yield shell
    finally:
        shell.end()


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    """The tables of this test; not there yet."""
    url, name = settings.dynamodb_endpoint_url, settings.dynamodb_events_table_name
    with dropped_at_end(url, name) as tables:
        yield tables


@pytest.fixture
def shell(tmp_path: Path, tables: Tables) -> Iterator[Shell]:
    """A shell whose commands use the tables of this test."""
    with shell_on(tables, tmp_path) as shell:
        yield shell
