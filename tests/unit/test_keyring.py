"""Callers, their rights, and the cache of keys."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from events.auth.keyring import ANYONE, INVALID_KEY, Caller, KeyRing
from events.auth.keys import ApiKey, Right
from events.errors import NotAllowed, NotAuthenticated, StoreUnavailable
from tests.support.factories import HOUR, HOUR_ZERO, MICROSECOND
from tests.support.fakekeys import MemoryKeyStore, a_key, with_other_secret

READ, INGEST, ADMIN = Right.READ, Right.INGEST, Right.ADMIN


class Clocks:
    """The time of day, and the clock of the cache."""

    def __init__(self) -> None:
        self.now = HOUR_ZERO
        self.seconds = 1_000.0


def ring(store: MemoryKeyStore, clocks: Clocks, *, cache_seconds: float = 5) -> KeyRing:
    return KeyRing(
        store,
        cache_seconds=cache_seconds,
        now=lambda: clocks.now,
        clock=lambda: clocks.seconds,
    )


def authenticate(keys: KeyRing, token: str | None) -> Caller:
    """As a request does it: the cache first, then the store."""
    return keys.known(token) or keys.look_up(token)


def refused(keys: KeyRing, token: str | None) -> str:
    """The message of a refusal."""
    with pytest.raises(NotAuthenticated) as caught:
        authenticate(keys, token)
    return str(caught.value)


# --- rights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", list(Right))
def test_no_right_includes_another(held: Right) -> None:
    caller = Caller("k", frozenset({held}), None)
    for right in Right:
        if right is held:
            caller.check(right, "acme")
            caller.check(right, None)
            caller.check_right(right)
        else:
            for customer_id in ("acme", None):
                with pytest.raises(NotAllowed, match=f"does not have the right {right.value!r}"):
                    caller.check(right, customer_id)
            with pytest.raises(NotAllowed):
                caller.check_right(right)


@pytest.mark.parametrize("other", ["globex", "ACME", "acme ", "", "acme/x", None])
def test_a_key_for_one_customer_is_refused_for_others_and_for_all(
    other: str | None,
) -> None:
    caller = Caller("k", frozenset(Right), "acme")
    for right in Right:
        caller.check(right, "acme")
        with pytest.raises(NotAllowed) as caught:
            caller.check(right, other)
        assert "acme" not in str(caught.value)


def test_without_keys_anyone_may_do_anything() -> None:
    for right in Right:
        for customer_id in ("acme", None):
            ANYONE.check(right, customer_id)


# --- authentication -------------------------------------------------------------------------------


def test_a_valid_key_identifies_its_caller() -> None:
    token, key = a_key(rights=[READ, ADMIN], customer_id="acme")
    keys = ring(MemoryKeyStore(key), Clocks())
    assert authenticate(keys, token) == Caller(key.key_id, frozenset({READ, ADMIN}), "acme")


def test_every_refusal_has_the_same_message() -> None:
    good, key = a_key()
    expired_token, expired = a_key(expires_at=HOUR_ZERO + HOUR)
    revoked_token, revoked = a_key()
    unknown, _ = a_key()
    store = MemoryKeyStore(key, expired, revoked)
    store.revoke(revoked.key_id, HOUR_ZERO)
    clocks = Clocks()
    clocks.now = HOUR_ZERO + HOUR
    keys = ring(store, clocks)
    for token in (
        None, "", "garbage", good[:-1], with_other_secret(good), expired_token, revoked_token,
        unknown,
    ):  # fmt: skip
        assert refused(keys, token) == INVALID_KEY


def test_a_malformed_token_is_refused_without_asking_the_store() -> None:
    store = MemoryKeyStore()
    keys = ring(store, Clocks())
    for token in (None, "", "garbage", "events_"):
        with pytest.raises(NotAuthenticated):
            keys.known(token)
        with pytest.raises(NotAuthenticated):
            keys.look_up(token)
    assert store.asked == []


# --- the cache ------------------------------------------------------------------------------------


def test_a_valid_key_is_looked_up_once_per_cache_period() -> None:
    token, key = a_key()
    store, clocks = MemoryKeyStore(key), Clocks()
    keys = ring(store, clocks)
    assert keys.known(token) is None
    caller = authenticate(keys, token)
    clocks.seconds += 4.999
    assert keys.known(token) == authenticate(keys, token) == caller
    assert store.asked == [key.key_id]
    clocks.seconds += 0.001
    assert keys.known(token) is None
    assert authenticate(keys, token) == caller
    assert store.asked == [key.key_id] * 2


def test_a_revoked_key_works_until_the_cache_expires_and_no_longer() -> None:
    token, key = a_key()
    store, clocks = MemoryKeyStore(key), Clocks()
    keys = ring(store, clocks)
    authenticate(keys, token)
    store.revoke(key.key_id, HOUR_ZERO)
    clocks.seconds += 4.999
    authenticate(keys, token)
    clocks.seconds += 0.001
    assert refused(keys, token) == INVALID_KEY


class _SlowStore(MemoryKeyStore):
    """A store whose answers take three seconds."""

    def __init__(self, clocks: Clocks, *keys: ApiKey) -> None:
        super().__init__(*keys)
        self._clocks = clocks

    def get(self, key_id: str) -> ApiKey | None:
        key = super().get(key_id)
        self._clocks.seconds += 3
        return key


def test_the_cache_period_starts_before_the_read_of_the_store() -> None:
    clocks = Clocks()
    token, key = a_key()
    store = _SlowStore(clocks, key)
    keys = ring(store, clocks)
    authenticate(keys, token)
    store.revoke(key.key_id, HOUR_ZERO)
    clocks.seconds += 2
    assert refused(keys, token) == INVALID_KEY


def test_without_a_cache_every_request_is_looked_up() -> None:
    token, key = a_key()
    store = MemoryKeyStore(key)
    keys = ring(store, Clocks(), cache_seconds=0)
    authenticate(keys, token)
    authenticate(keys, token)
    assert store.asked == [key.key_id] * 2
    store.revoke(key.key_id, HOUR_ZERO)
    assert refused(keys, token) == INVALID_KEY


def test_a_cached_key_expires_on_time() -> None:
    token, key = a_key(expires_at=HOUR_ZERO + HOUR)
    store, clocks = MemoryKeyStore(key), Clocks()
    keys = ring(store, clocks)
    clocks.now = HOUR_ZERO + HOUR - MICROSECOND
    authenticate(keys, token)
    clocks.now = HOUR_ZERO + HOUR
    assert refused(keys, token) == INVALID_KEY
    assert store.asked == [key.key_id]


def test_a_wrong_secret_for_a_cached_key_is_refused_from_the_cache() -> None:
    token, key = a_key()
    store = MemoryKeyStore(key)
    keys = ring(store, Clocks())
    authenticate(keys, token)
    for _ in range(3):
        assert refused(keys, with_other_secret(token)) == INVALID_KEY
    assert store.asked == [key.key_id]
    assert keys.known(token)


def test_only_valid_keys_are_cached() -> None:
    token, key = a_key()
    unknown, other = a_key()
    store = MemoryKeyStore(key)
    keys = ring(store, Clocks())
    for wrong in (unknown, unknown, with_other_secret(token), with_other_secret(token)):
        assert refused(keys, wrong) == INVALID_KEY
    assert store.asked == [other.key_id] * 2 + [key.key_id] * 2
    store.add(other)
    authenticate(keys, unknown)


def test_the_cache_is_bounded_and_drops_the_oldest_key() -> None:
    made = [a_key() for _ in range(4)]
    store = MemoryKeyStore(*(key for _, key in made))
    keys = KeyRing(store, cache_seconds=60, max_cached=3, now=lambda: HOUR_ZERO)
    for token, _ in made:
        authenticate(keys, token)
    assert [keys.known(token) is not None for token, _ in made] == [False, True, True, True]


class _StoreThatIsAway(MemoryKeyStore):
    def get(self, key_id: str) -> ApiKey | None:
        raise StoreUnavailable(key_id)


def test_a_store_that_does_not_answer_is_not_a_refusal() -> None:
    token, _ = a_key()
    with pytest.raises(StoreUnavailable):
        ring(_StoreThatIsAway(), Clocks()).look_up(token)


def test_two_keys_of_one_customer_both_work_during_a_rotation() -> None:
    (old_token, old), (new_token, new) = a_key(customer_id="acme"), a_key(customer_id="acme")
    store = MemoryKeyStore(old, new)
    keys = ring(store, Clocks(), cache_seconds=0)
    assert [authenticate(keys, token).key_id for token in (old_token, new_token)] == [
        old.key_id,
        new.key_id,
    ]
    store.revoke(old.key_id, HOUR_ZERO)
    assert refused(keys, old_token) == INVALID_KEY
    assert authenticate(keys, new_token).key_id == new.key_id


def test_many_threads_get_the_same_answers() -> None:
    made = [a_key() for _ in range(5)]
    store, clocks = MemoryKeyStore(*(key for _, key in made)), Clocks()
    keys = ring(store, clocks, cache_seconds=0.01)
    tokens = [token for token, _ in made]
    barrier = threading.Barrier(8)

    def ask(_: int) -> Sequence[str | None]:
        barrier.wait(60)
        answers = []
        for _ in range(200):
            for token in tokens:
                clocks.seconds += 0.001
                answers.append(authenticate(keys, token).key_id)
        return answers

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert answers == [[key.key_id for _, key in made] * 200] * 8


def test_the_store_is_closed_with_the_ring() -> None:
    store = MemoryKeyStore()
    ring(store, Clocks()).close()
    assert store.is_closed


def test_keys_expire_by_the_time_in_utc() -> None:
    token, key = a_key(expires_at=datetime.max.replace(tzinfo=HOUR_ZERO.tzinfo))
    past_token, past = a_key(expires_at=HOUR_ZERO + HOUR)
    keys = KeyRing(MemoryKeyStore(key, past), cache_seconds=5)
    assert authenticate(keys, token).key_id == key.key_id
    assert refused(keys, past_token) == INVALID_KEY
