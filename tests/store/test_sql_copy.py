"""Copying all events from one store to another."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from events.bootstrap import make_key_store, make_service
from events.cli.main import main
from events.config import Settings
from events.domain.retries import RetryPolicy
from events.sql.store import SqlStore
from tests.support.backdoor import DynamoBackDoor
from tests.support.factories import expected_contents, many_events
from tests.support.fakekeys import a_key
from tests.support.pool import TablePool
from tests.support.sqlstore import SqlTables

EVENTS = many_events(300, customers=3, hours=70, event_types=3)


def test_a_copy_has_the_same_events_counts_and_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (f"sqlite:///{tmp_path}/{name}.db" for name in ("old", "new"))
    settings = Settings(events_database_url=old)
    _, key = a_key()
    with closing(make_service(settings)) as service:
        service.ingest(EVENTS)
        service.void(EVENTS[:7], reason="x")
    with closing(make_key_store(settings, patience_seconds=5, may_make_tables=True)) as keys:
        keys.add(key)
    for count in ("300 inserted", "293 duplicate, 7 voided"):
        assert main(["copy", "--from", old, "--to", new]) == 0
        assert count in capsys.readouterr().err
    with closing(SqlStore(new, retry=RetryPolicy(5))) as store:
        assert SqlTables(store).contents() == expected_contents(
            EVENTS, voided=EVENTS[:7], reason="x"
        )
    with closing(
        make_key_store(settings.model_copy(update={"events_database_url": new}), patience_seconds=5)
    ) as keys:
        assert keys.keys() == [key]


def test_events_move_from_sqlite_to_dynamodb(
    table_pool: TablePool, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = f"sqlite:///{tmp_path}/old.db"
    with closing(make_service(Settings(events_database_url=old))) as service:
        service.ingest(EVENTS)
    with table_pool.take() as name:
        monkeypatch.setenv("DYNAMODB_ENDPOINT_URL", settings.dynamodb_endpoint_url)
        monkeypatch.setenv("DYNAMODB_EVENTS_TABLE_NAME", name)
        assert main(["copy", "--from", old, "--to", "dynamodb"]) == 0
        tables = DynamoBackDoor(table_pool.client, name)
        assert tables.contents() == expected_contents(EVENTS)


def test_a_copy_needs_an_existing_source(tmp_path: Path) -> None:
    missing, new = (f"sqlite:///{tmp_path}/{name}.db" for name in ("missing", "new"))
    assert main(["copy", "--from", missing, "--to", new]) == 2
    assert main(["copy", "--from", missing, "--to", missing]) == 2
