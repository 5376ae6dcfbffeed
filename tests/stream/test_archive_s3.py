"""The archive in an S3 object store, by pyiceberg's own configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from events.config import Settings
from events.errors import StoreUnavailable
from events.models import Event
from tests.stream.archives import archive, events_of, make_archiver, open_archive, produce
from tests.support.factories import many_events


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an S3 server in this process, with one bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=address)
    client.create_bucket(Bucket="archive")
    client.close()
    yield address
    server.stop()


@pytest.fixture
def settings(
    settings: Settings, object_store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    """Settings whose catalog is in pyiceberg's configuration, in the environment."""
    prefix = f"PYICEBERG_CATALOG__{settings.iceberg_catalog_name.upper()}__"
    for name, value in {
        "TYPE": "sql",
        "URI": f"sqlite:///{tmp_path}/catalog.db",
        "WAREHOUSE": "s3://archive/warehouse",
        "S3__ENDPOINT": object_store,
        "S3__ACCESS_KEY_ID": "local",
        "S3__SECRET_ACCESS_KEY": "local",
        "S3__REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"{prefix}{name}", value)
    return settings


def archived(settings: Settings) -> Counter[Event]:
    with open_archive(settings) as catalog:
        table = catalog.load_table(("events", "raw"))
        assert table.location().startswith("s3://archive/")
        rows = table.scan().to_arrow().to_pylist()
    return events_of(rows)


def test_an_archive_in_s3_has_every_message_once(settings: Settings) -> None:
    events = many_events(40, customers=3, hours=30)
    produce(settings, [*events, events[0], b"no event"])
    done = archive(settings)
    assert (done.archived, done.rejected) == (41, 1)
    more = many_events(5, seed=1)
    produce(settings, more)
    assert archive(settings).archived == 5
    assert archived(settings) == Counter([*events, events[0], *more])


def test_a_missing_bucket_is_an_error_without_its_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"PYICEBERG_CATALOG__{settings.iceberg_catalog_name.upper()}__"
    monkeypatch.setenv(f"{prefix}WAREHOUSE", "s3://no-such-bucket/warehouse")
    produce(settings, many_events(1))
    with pytest.raises(StoreUnavailable) as caught:
        make_archiver(settings, is_until_end=True, patience_seconds=0).run()
    assert "no-such-bucket" not in str(caught.value)
