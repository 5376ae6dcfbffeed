"""What every store of keys does, in memory and on DynamoDB; and the table that it is kept in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import cast

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from events.auth.keyring import KeyStore
from events.auth.keys import Right, is_valid
from events.auth.keystore import DynamoKeyStore
from events.auth.sqlkeystore import SqlKeyStore
from events.bootstrap import make_client, make_key_store
from events.config import Settings
from events.domain.retries import RetryPolicy
from events.errors import StoreRefused, StoreUnavailable
from events.sql.store import SqlStore
from tests.support.factories import DAY, HOUR, HOUR_ZERO, MICROSECOND
from tests.support.fakekeys import MemoryKeyStore, a_key
from tests.support.sqlstore import SqlTables


def table_of(settings: Settings) -> str:
    return f"{settings.dynamodb_events_table_name}_api_keys"


@pytest.fixture
def dynamo(settings: Settings) -> Iterator[KeyStore]:
    """A store that may make its table, which is not there yet."""
    store = make_key_store(settings, patience_seconds=10, may_make_tables=True)
    yield store
    store.close()
    client = make_client(settings)
    with suppress(client.exceptions.ResourceNotFoundException):
        client.delete_table(TableName=table_of(settings))
    client.close()


@pytest.fixture
def sqlite() -> Iterator[KeyStore]:
    with closing(SqlKeyStore("sqlite://", retry=RetryPolicy(10), may_make_tables=True)) as store:
        yield store


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[KeyStore]:
    with closing(SqlStore(postgresql_url, retry=RetryPolicy(10))) as store:
        SqlTables(store).clear()
    keys = SqlKeyStore(postgresql_url, retry=RetryPolicy(10), may_make_tables=False)
    with closing(keys):
        yield keys


@pytest.fixture(
    params=["memory", "dynamo", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def store(request: pytest.FixtureRequest) -> KeyStore:
    if request.param == "memory":
        return MemoryKeyStore()
    store: KeyStore = request.getfixturevalue(request.param)
    return store


# --- every store ----------------------------------------------------------------------------------


def test_a_stored_key_is_returned_unchanged(store: KeyStore) -> None:
    for _, key in (
        a_key(),
        a_key(rights=list(Right), name="日本 😀", customer_id="a/b é", created_at=HOUR_ZERO + DAY),
        a_key(expires_at=HOUR_ZERO + MICROSECOND),
    ):
        assert store.add(key)
        assert store.get(key.key_id) == key


def test_a_token_is_valid_against_the_stored_key(store: KeyStore) -> None:
    token, key = a_key()
    store.add(key)
    stored = store.get(key.key_id)
    assert stored
    assert is_valid(stored, token, HOUR_ZERO)


def test_an_unknown_id_has_no_key(store: KeyStore) -> None:
    assert store.get("abcdefghij01") is None
    store.add(a_key()[1])
    assert store.get("abcdefghij01") is None


def test_adding_never_replaces_a_key(
    store: KeyStore,
) -> None:
    _, key = a_key()
    other = replace(a_key(name="another")[1], key_id=key.key_id)
    assert [store.add(key), store.add(key), store.add(other)] == [True, True, False]
    assert store.keys() == [key]


def test_adding_a_revoked_key_again_does_not_restore_it(store: KeyStore) -> None:
    _, key = a_key()
    store.add(key)
    store.revoke(key.key_id, HOUR_ZERO + HOUR)
    assert not store.add(key)
    assert store.keys() == [replace(key, revoked_at=HOUR_ZERO + HOUR)]


def test_keys_are_listed_oldest_first(store: KeyStore) -> None:
    assert store.keys() == []
    made = [a_key(created_at=HOUR_ZERO + place * HOUR)[1] for place in (2, 0, 3, 1)]
    for key in made:
        store.add(key)
    assert store.keys() == [made[1], made[3], made[0], made[2]]


def test_revoking_again_keeps_the_first_time(store: KeyStore) -> None:
    _, key = a_key(customer_id="acme", expires_at=HOUR_ZERO + DAY)
    _, other = a_key(created_at=HOUR_ZERO + HOUR)
    store.add(key)
    store.add(other)
    revoked = replace(key, revoked_at=HOUR_ZERO + HOUR)
    assert store.revoke(key.key_id, HOUR_ZERO + HOUR) == revoked
    assert store.revoke(key.key_id, HOUR_ZERO + 2 * HOUR) == revoked
    assert store.keys() == [revoked, other]


def test_revoking_an_unknown_key_creates_none(store: KeyStore) -> None:
    assert store.revoke("abcdefghij01", HOUR_ZERO) is None
    store.add(a_key()[1])
    assert store.revoke("abcdefghij01", HOUR_ZERO) is None
    assert len(store.keys()) == 1


# --- on DynamoDB ----------------------------------------------------------------------------------


def is_there(settings: Settings) -> bool:
    client = make_client(settings)
    try:
        client.describe_table(TableName=table_of(settings))
    except client.exceptions.ResourceNotFoundException:
        return False
    finally:
        client.close()
    return True


def test_only_adding_a_key_creates_the_table(
    dynamo: KeyStore, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert dynamo.get("abcdefghij01") is None
    assert "no API keys exist yet" in caplog.text
    assert "python -m events keys create" in caplog.text
    assert dynamo.keys() == []
    assert dynamo.revoke("abcdefghij01", HOUR_ZERO) is None
    assert not is_there(settings)
    dynamo.add(a_key()[1])
    assert is_there(settings)


def test_without_the_right_no_table_is_created(settings: Settings) -> None:
    store = make_key_store(settings, patience_seconds=0)
    with pytest.raises(StoreRefused, match=table_of(settings)):
        store.add(a_key()[1])
    store.close()
    assert not is_there(settings)


def test_the_table_is_created_beside_event_tables(dynamo: KeyStore, settings: Settings) -> None:
    dynamo.add(a_key()[1])
    client = make_client(settings)
    table = client.describe_table(TableName=table_of(settings))["Table"]
    client.close()
    assert table["KeySchema"] == [{"AttributeName": "key_id", "KeyType": "HASH"}]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_the_table_has_a_digest_but_no_token_or_secret(
    dynamo: KeyStore, settings: Settings
) -> None:
    token, key = a_key(
        rights=[Right.READ, Right.ADMIN], customer_id="acme", expires_at=HOUR_ZERO + DAY
    )
    dynamo.add(key)
    dynamo.revoke(key.key_id, HOUR_ZERO + HOUR)
    client = make_client(settings)
    (item,) = client.scan(TableName=table_of(settings))["Items"]
    client.close()
    assert item == {
        "key_id": {"S": key.key_id},
        "name": {"S": "a test"},
        "rights": {"SS": ["admin", "read"]},
        "customer_id": {"S": "acme"},
        "digest": {"S": key.digest},
        "created_at": {"S": "2021-03-01T00:00:00.000000Z"},
        "expires_at": {"S": "2021-03-02T00:00:00.000000Z"},
        "revoked_at": {"S": "2021-03-01T01:00:00.000000Z"},
    }
    assert token[20:] not in str(item)


@pytest.mark.slow
def test_all_pages_of_keys_are_read(dynamo: KeyStore) -> None:
    # A page has at most 1 MB; so large an id is the only part of a key that may be long.
    made = [
        a_key(customer_id="x" * 2_048, created_at=HOUR_ZERO + place * MICROSECOND)[1]
        for place in range(600)
    ]
    for key in made:
        assert dynamo.add(key)
    assert dynamo.keys() == made


@contextmanager
def losing_the_first_answer(settings: Settings, operation: str) -> Iterator[DynamoKeyStore]:
    """A store whose first such request is done, and its answer lost."""
    client = make_client(settings)
    session = URLLib3Session()
    sent: list[int] = []

    def strike(request: AWSPreparedRequest, **_: object) -> None:
        if not sent:
            sent.append(session.send(request).status_code)
            raise ConnectionClosedError(endpoint_url=request.url, error="injected")

    name = f"before-send.dynamodb.{operation}"
    # botocore's type knows no handler of that event.
    client.meta.events.register(name, cast("Callable[..., None]", strike))
    yield DynamoKeyStore(
        client,
        settings.dynamodb_events_table_name,
        retry=RetryPolicy(10),
        may_make_tables=False,
    )
    assert sent == [200]
    client.close()
    session.close()


def test_a_key_is_added_if_the_answer_was_lost(dynamo: KeyStore, settings: Settings) -> None:
    dynamo.add(a_key()[1])
    _, key = a_key(created_at=HOUR_ZERO + HOUR)
    with losing_the_first_answer(settings, "PutItem") as store:
        assert store.add(key)
    assert dynamo.keys()[1:] == [key]


def test_a_key_is_revoked_if_the_answer_was_lost(dynamo: KeyStore, settings: Settings) -> None:
    _, key = a_key()
    dynamo.add(key)
    with losing_the_first_answer(settings, "UpdateItem") as store:
        assert store.revoke(key.key_id, HOUR_ZERO) == replace(key, revoked_at=HOUR_ZERO)


def test_an_unreachable_store_is_unavailable() -> None:
    store = make_key_store(Settings(dynamodb_endpoint_url="http://127.0.0.1:9"), patience_seconds=0)
    for ask in (
        lambda: store.get("abcdefghij01"),
        store.keys,
        lambda: store.add(a_key()[1]),
        lambda: store.revoke("abcdefghij01", HOUR_ZERO),
    ):
        with pytest.raises(StoreUnavailable):
            ask()
    store.close()
