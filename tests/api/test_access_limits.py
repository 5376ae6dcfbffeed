"""API keys over time, before the first key, and rate limits."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from events.app import create_app
from events.auth.keyring import INVALID_KEY
from events.auth.keys import Right
from events.bootstrap import make_client, make_key_store
from events.config import Settings
from tests.support.factories import HOUR, HOUR_ZERO
from tests.support.fakekeys import a_key
from tests.support.guarded import BUCKETS, ITS_CUSTOMER, refusal, serving
from tests.support.served import client_of

# --- time -----------------------------------------------------------------------------------------


def test_two_keys_of_one_customer_both_work_until_one_is_revoked() -> None:
    with serving() as api:
        old, new = (api.key(Right.READ, customer_id=ITS_CUSTOMER) for _ in range(2))
        assert [api.get(BUCKETS, token).status_code for token in (old, new)] == [200, 200]
        api.keys.revoke(old[7:19], HOUR_ZERO)
        api.clock.seconds += 5
        assert [api.get(BUCKETS, token).status_code for token in (old, new)] == [401, 200]


def test_a_key_expires_while_it_is_in_use() -> None:
    with serving() as api:
        token = api.key(Right.READ, expires_at=HOUR_ZERO + HOUR)
        assert api.get(BUCKETS, token).status_code == 200
        api.clock.now += HOUR
        assert api.get(BUCKETS, token).status_code == 401


# --- no key created, no store, or keys off --------------------------------------------------------


def test_before_the_first_key_nobody_gets_in_and_the_log_says_why(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """On DynamoDB: the first key also creates the table."""
    settings = settings.model_copy(update={"events_api_keys": "on"})
    token, key = a_key()
    with client_of(create_app(settings)) as client:
        headers = {"Authorization": f"Bearer {token}"}
        response = client.get(BUCKETS, headers=headers)
        assert response.json() == refusal(401, "API key required", INVALID_KEY)
        assert "python -m events keys create" in caplog.text
        assert token[20:] not in caplog.text
        database = make_client(settings)
        table = f"{settings.dynamodb_events_table_name}_api_keys"
        with pytest.raises(database.exceptions.ResourceNotFoundException):
            database.describe_table(TableName=table)
        with closing(make_key_store(settings, patience_seconds=10, may_make_tables=True)) as keys:
            assert keys.add(key)
        assert client.get("/metrics", headers=headers).status_code == 200
        database.delete_table(TableName=table)
        database.close()


def test_a_store_that_is_down_is_a_503_and_lets_nobody_in() -> None:
    settings = Settings.model_construct(
        dynamodb_endpoint_url="http://127.0.0.1:9",
        events_api_keys="on",
        events_store_patience_seconds=0,
    )
    with client_of(create_app(settings)) as client:
        assert client.get(BUCKETS).status_code == 401
        token, _ = a_key()
        response = client.get(BUCKETS, headers={"Authorization": f"Bearer {token}"})
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert client.get("/livez").status_code == 200


def test_with_keys_off_no_key_is_checked() -> None:
    with serving(are_keys_on=False) as api:
        for token in (None, "garbage", a_key()[0]):
            assert api.get(BUCKETS, token).status_code == 200


# --- limits ---------------------------------------------------------------------------------------


def limited(response: Any, most_seconds: int) -> str:
    """The message of a 429."""
    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= most_seconds
    body: dict[str, Any] = response.json()
    detail: str = body["detail"]
    assert body == refusal(429, "Rate limit exceeded", detail)
    return detail


def test_requests_of_one_key_are_limited() -> None:
    with serving(per_key="3/hour") as api:
        first, second = api.key(Right.READ), api.key(Right.READ)
        assert [api.get(BUCKETS, first).status_code for _ in range(3)] == [200] * 3
        assert limited(api.get(BUCKETS, first), 3_600) == (
            "Rate limit exceeded: 3 requests/hour per API key. Retry after the seconds in the "
            "Retry-After header."
        )
        assert api.get(BUCKETS, second).status_code == 200
        assert api.get(BUCKETS, api.key(Right.INGEST)).status_code == 403


@pytest.mark.parametrize("are_keys_on", [True, False])
def test_requests_of_one_address_are_limited_except_health_checks(*, are_keys_on: bool) -> None:
    with serving(per_address="3/hour", are_keys_on=are_keys_on) as api:
        token = api.key(Right.READ)
        for _ in range(5):
            assert api.get("/livez").status_code == api.get("/readyz").status_code == 200
        assert [api.get(BUCKETS, token).status_code for _ in range(3)] == [200] * 3
        assert limited(api.get("/events/customers", token), 3_600) == (
            "Rate limit exceeded: 3 requests/hour per address. Retry after the seconds in the "
            "Retry-After header."
        )
        assert api.get("/livez").status_code == api.get("/readyz").status_code == 200
        assert api.get("/openapi.json").status_code == 200


def test_invalid_keys_are_limited_and_valid_keys_do_not_count() -> None:
    with serving(wrong_keys="3/hour", cache_seconds=60) as api:
        token, later = api.key(Right.READ), api.key(Right.READ)
        for _ in range(5):
            assert api.get(BUCKETS, token).status_code == 200
        wrong = [None, "garbage", a_key()[0]]
        assert [api.get(BUCKETS, token).status_code for token in wrong] == [401] * 3
        for token_ in wrong:
            assert limited(api.get(BUCKETS, token_), 3_600) == (
                "Rate limit exceeded: 3 requests/hour without a valid API key per address. Retry "
                "after the seconds in the Retry-After header."
            )
        # A cached key still works; a key that the store must be asked for does not.
        assert api.get(BUCKETS, token).status_code == 200
        limited(api.get(BUCKETS, later), 3_600)
