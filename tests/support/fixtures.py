"""Fixtures for commands that run as real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.config import Settings
from tests.support.shell import Shell
from tests.support.tables import Tables


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    """The tables of this test; not there yet."""
    tables = Tables(settings.dynamodb_endpoint_url, settings.dynamodb_events_table_name)
    yield tables
    tables.drop_tables()
    tables.client.close()


@pytest.fixture
def shell(tmp_path: Path, settings: Settings, tables: Tables) -> Iterator[Shell]:
    """A shell whose commands use the tables of this test."""
    shell = Shell(
        tmp_path / "here",
        {
            "DYNAMODB_ENDPOINT_URL": settings.dynamodb_endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": tables.name,
        },
    )
    yield shell
    shell.end()
