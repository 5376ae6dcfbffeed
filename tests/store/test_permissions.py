"""Each program asks for what its policy in docs/aws.md allows: all of it, and nothing else."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from events.auth.keyring import KeyStore
from events.auth.keys import Right
from events.bootstrap import make_client, make_key_store, make_store
from events.cli import main as cli
from events.config import Settings
from events.dao import DynamoStore, Timing
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.domain.windows import LATEST
from events.models import ChangeCursor
from events.service import EventService
from ingest_events_from_file import main as ingest
from tests.support.api import serving
from tests.support.database import Database
from tests.support.factories import HOUR, HOUR_ZERO, event, many_events, time_text
from tests.support.fakekeys import a_key
from tests.support.permissions import Recorder, Rights, policies, recording, rights_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


API = "The API: queries and ingest"
CORRECTIONS = "The API: voiding and erasing"
DAY = "start=2021-03-01T00:30:00Z&end=2021-03-02T00:00:00Z"


@pytest.fixture(scope="module")
def recorder(database: Database) -> Iterator[Recorder]:
    with recording(database.port) as recorder:
        yield recorder


@pytest.fixture
def recorded(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings, for this process and the commands in it, that lead past the recorder."""
    settings = Settings(
        dynamodb_endpoint_url=recorder.endpoint_url,
        dynamodb_events_table_name=f"t{uuid.uuid4().hex}",
    )
    monkeypatch.setenv("DYNAMODB_ENDPOINT_URL", settings.dynamodb_endpoint_url)
    monkeypatch.setenv("DYNAMODB_EVENTS_TABLE_NAME", settings.dynamodb_events_table_name)
    return settings


@pytest.fixture
def client(database: Database, recorded: Settings) -> Iterator[DynamoDBClient]:
    """The database itself; tables of these settings are dropped in the end."""
    client = make_client(Settings(dynamodb_endpoint_url=database.endpoint_url))
    yield client
    for table in _tables(recorded):
        try:
            client.delete_table(TableName=table)
        except client.exceptions.ResourceNotFoundException:
            continue
    client.close()


@pytest.fixture
def asked(
    recorder: Recorder,
    recorded: Settings,
    client: DynamoDBClient,  # noqa: ARG001 - drops the tables
) -> Callable[[], Rights]:
    """What was asked since the last call; all tables are there."""
    store = make_store(recorded, patience_seconds=10)
    store.create_tables()
    store.close()
    with key_store(recorded) as keys:
        keys.add(a_key()[1])
    recorder.rights(recorded.dynamodb_events_table_name)
    return lambda: recorder.rights(recorded.dynamodb_events_table_name)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "events.csv"
    path.write_text(
        "customer_id,event_type,transaction_id,timestamp\n"
        + "".join(
            f"{item.customer_id},{item.event_type},{item.transaction_id},{time_text(item.timestamp)}\n"
            for item in many_events(40, customers=8)
        ),
        encoding="utf-8",
    )
    return str(path)


@pytest.fixture
def one_event(tmp_path: Path) -> str:
    """A file of one day, which is listed as changed by itself."""
    path = tmp_path / "one.csv"
    path.write_text(f"acme,api_call,t-0,{time_text(HOUR_ZERO)}\n", encoding="utf-8")
    return str(path)


def _tables(settings: Settings) -> list[str]:
    name = settings.dynamodb_events_table_name
    return [name, f"{name}_hourly_counts", f"{name}_changes", f"{name}_api_keys"]


@contextmanager
def key_store(settings: Settings) -> Iterator[KeyStore]:
    keys = make_key_store(settings, patience_seconds=10, may_make_tables=True)
    yield keys
    keys.close()


def run(*arguments: str) -> int:
    """A command in this process, whose way to end it is put back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        return cli.main(arguments)
    finally:
        signal.signal(signal.SIGTERM, before)


def allowed_by(*headings: str) -> Rights:
    found = policies()
    return rights_of(*(found[heading] for heading in headings))


def fields(transaction_id: str) -> dict[str, str]:
    each = event(transaction_id, timestamp=HOUR_ZERO + HOUR / 2)
    return {
        "customer_id": each.customer_id,
        "event_type": each.event_type,
        "transaction_id": each.transaction_id,
        "timestamp": time_text(each.timestamp),
    }


@pytest.mark.slow
def test_the_api_needs_exactly_its_policy(recorded: Settings, asked: Callable[[], Rights]) -> None:
    token, key = a_key(rights=list(Right))
    with key_store(recorded) as keys:
        keys.add(key)
    asked()
    settings = recorded.model_copy(update={"events_api_keys": "on"})
    with serving(settings) as api:
        api.client.headers["Authorization"] = f"Bearer {token}"
        for _ in range(2):
            sent = api.client.post("/events", json={"events": [fields("t-1"), fields("t-2")]})
            assert sent.status_code == 200
        # Several days are logged as changed in one request, twice: a new minute may begin in one.
        for letter in "cd":
            several = [{**fields("t-3"), "customer_id": f"{letter}-{n}"} for n in range(20)]
            assert api.client.post("/events", json={"events": several}).status_code == 200
        for path in (
            "/readyz",
            f"/events/customers/acme/buckets?{DAY}",
            f"/events/customers/acme/buckets?{DAY}&group_by=event_type",
            f"/events/customers/acme/events?{DAY}",
            f"/events/customers?{DAY}",
            "/events/changes",
        ):
            assert api.client.get(path).status_code == 200, path
        # As the last of them does once a minute is settled.
        store = make_store(settings, patience_seconds=10)
        store.changes.read(ChangeCursor(store.changes.settled_until()), LATEST, limit=1)
        store.close()
        assert asked() == allowed_by(API)


@pytest.mark.slow
def test_void_and_erase_over_http_need_exactly_their_policy(
    recorded: Settings, asked: Callable[[], Rights]
) -> None:
    with key_store(recorded) as keys:
        keys.add(a_key(customer_id="acme")[1])
        asked()
        with serving(recorded) as api:
            sent = api.client.post("/events", json={"events": [fields("t-1"), fields("t-2")]})
            voided = api.client.post(
                "/events/void", json={"reason": "a test", "events": [fields("t-1")]}
            )
            erased = api.client.delete("/events/customers/acme/events")
        assert [item.status_code for item in (sent, voided, erased)] == [200, 200, 200]
        # As an erasure does at its end, which is 40 s away.
        store = make_store(recorded, patience_seconds=10)
        assert store.changes.forget_customer("acme", None, max_minutes=1_000) is None
        store.close()
        keys.forget("acme")
    found, beside, both = asked(), allowed_by(CORRECTIONS), allowed_by(API, CORRECTIONS)
    assert found.keys() == beside.keys()
    for table, actions in found.items():
        assert beside[table] <= actions <= both[table]


@pytest.mark.slow
def test_ingest_needs_exactly_its_policy(
    recorded: Settings,
    asked: Callable[[], Rights],
    client: DynamoDBClient,
    file: str,
    one_event: str,
) -> None:
    assert [ingest([item, "--json"]) for item in (file, file, one_event)] == [0, 0, 0]
    # Too late for a day that has events: the next run asks for its number of shards.
    plans = DynamoStore(
        client, Tables.named(recorded.dynamodb_events_table_name), retry=RetryPolicy(10)
    ).plans
    plans.change("acme", lambda plan: plan.with_shards(2, "2021-01-01"))
    assert ingest([one_event, "--json"]) == 0
    assert asked() == allowed_by("`ingest_events_from_file.py`")


@pytest.mark.slow
def test_shards_needs_exactly_its_policy(asked: Callable[[], Rights]) -> None:
    assert run("shards", "set", "acme", "--shards", "2") == 0
    assert run("shards", "show") == 0
    assert asked() == allowed_by("`python -m events shards`")


@pytest.mark.slow
def test_verify_needs_exactly_its_policies(
    recorded: Settings, asked: Callable[[], Rights], client: DynamoDBClient, file: str
) -> None:
    ingest([file, "--json"])
    asked()
    assert run("verify") == 0
    assert asked() == allowed_by("`python -m events verify`")
    counts = _tables(recorded)[1]
    for item in client.scan(TableName=counts)["Items"]:
        # Neither a counter nor the list of customers is what it should be.
        client.delete_item(
            TableName=counts, Key={name: item[name] for name in ("customer_id", "counter_key")}
        )
    assert run("verify", "--repair") == 1
    assert asked() == allowed_by("`python -m events verify`", "`python -m events verify --repair`")


@pytest.mark.slow
def test_void_needs_exactly_its_policy(
    asked: Callable[[], Rights], file: str, one_event: str
) -> None:
    for each in (file, one_event):
        ingest([each, "--json"])
    asked()
    assert [run("void", item, "--reason", "a test") for item in (file, one_event)] == [0, 0]
    assert asked() == allowed_by("`python -m events void`")


@pytest.mark.slow
def test_erase_needs_exactly_its_policy(recorded: Settings, asked: Callable[[], Rights]) -> None:
    # As the command does it, but for the 40 s in which other processes learn of an erasure.
    store = DynamoStore(
        make_client(recorded),
        Tables.named(recorded.dynamodb_events_table_name),
        retry=RetryPolicy(10),
        may_make_tables=False,
        timing=Timing(registered_for_seconds=0, request_seconds=0),
    )
    service = EventService(store, write_threads=1)
    events = [event("t-1"), event("t-2")]
    service.ingest(events)
    service.void(events[:1], reason="a test")
    with key_store(recorded) as keys:
        keys.add(a_key(customer_id="acme")[1])
        asked()
        service.check()
        assert service.erase("acme", max_events=10).is_complete
        keys.forget("acme")
    assert asked() == allowed_by("`python -m events erase`")
    service.close()


@pytest.mark.slow
def test_keys_needs_exactly_its_policy(
    asked: Callable[[], Rights], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("keys", "create", "--name", "dashboard", "--right", "read") == 0
    key_id = capsys.readouterr().out.split("_")[1]
    assert [run("keys", "list"), run("keys", "revoke", key_id)] == [0, 0]
    assert asked() == allowed_by("`python -m events keys`")


@pytest.mark.slow
def test_creating_tables_needs_exactly_its_policy(
    recorder: Recorder, recorded: Settings, client: DynamoDBClient
) -> None:
    name, counts, listed, _ = _tables(recorded)
    for gone in (listed, counts, name):
        store = make_store(recorded, patience_seconds=10)
        store.create_tables()
        client.delete_table(TableName=gone)
        store.create_tables()
        store.close()
    assert run("keys", "create", "--name", "first", "--right", "read") == 0
    found = recorder.rights(name)
    # The key itself is the right of the command.
    assert found["_api_keys"] == {"CreateTable", "DescribeTable", "PutItem"}
    found["_api_keys"] -= {"PutItem"}
    assert found == allowed_by("Creating the tables")
