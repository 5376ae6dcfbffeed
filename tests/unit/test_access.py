"""Who asks, and what they may do: on a store in memory and with clocks that stand still."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from events.auth.keyring import ANYONE, NO_GOOD_KEY, Caller, KeyRing
from events.auth.keys import ApiKey, Right
from events.errors import NotAllowed, NotAuthenticated, StoreUnavailable
from tests.support.factories import HOUR, HOUR_ZERO, MICROSECOND
from tests.support.fakekeys import MemoryKeyStore, a_key, with_other_secret

READ, INGEST, ADMIN = Right.READ, Right.INGEST, Right.ADMIN


class Clocks:
    """The time of day, and the seconds that the cache counts."""

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


def refused(keys: KeyRing, token: str | None) -> str:
    """What a caller that is refused is told."""
    with pytest.raises(NotAuthenticated) as caught:
        keys.authenticate(token)
    return str(caught.value)


# --- what a caller may do -------------------------------------------------------------------------


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
                with pytest.raises(
                    NotAllowed, match=f"^this API key has no right to {right.value}$"
                ):
                    caller.check(right, customer_id)
            with pytest.raises(NotAllowed):
                caller.check_right(right)


@pytest.mark.parametrize("other", ["globex", "ACME", "acme ", "", "acme/x", None])
def test_a_caller_of_one_customer_may_do_nothing_about_another_or_about_all(
    other: str | None,
) -> None:
    caller = Caller("k", frozenset(Right), "acme")
    for right in Right:
        caller.check(right, "acme")
        with pytest.raises(NotAllowed) as caught:
            caller.check(right, other)
        assert "acme" not in str(caught.value)


def test_where_keys_are_off_anyone_may_do_anything() -> None:
    for right in Right:
        for customer_id in ("acme", None):
            ANYONE.check(right, customer_id)


# --- who it is ------------------------------------------------------------------------------------


def test_a_good_key_tells_who_asks() -> None:
    token, key = a_key(rights=[READ, ADMIN], customer_id="acme")
    keys = ring(MemoryKeyStore(key), Clocks())
    assert keys.authenticate(token) == Caller(key.key_id, frozenset({READ, ADMIN}), "acme")


def test_every_cause_is_refused_with_the_same_words() -> None:
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
        assert refused(keys, token) == NO_GOOD_KEY


def test_what_is_no_token_is_refused_without_asking_the_store() -> None:
    store = MemoryKeyStore()
    keys = ring(store, Clocks())
    for token in (None, "", "garbage", "events_"):
        with pytest.raises(NotAuthenticated):
            keys.known(token)
        with pytest.raises(NotAuthenticated):
            keys.look_up(token)
    assert store.asked == []


# --- the cache ------------------------------------------------------------------------------------


def test_a_good_key_is_looked_up_once_in_its_time() -> None:
    token, key = a_key()
    store, clocks = MemoryKeyStore(key), Clocks()
    keys = ring(store, clocks)
    assert keys.known(token) is None
    caller = keys.authenticate(token)
    clocks.seconds += 4.999
    assert keys.known(token) == keys.authenticate(token) == caller
    assert store.asked == [key.key_id]
    clocks.seconds += 0.001
    assert keys.known(token) is None
    assert keys.authenticate(token) == caller
    assert store.asked == [key.key_id] * 2


def test_a_revoked_key_works_on_for_the_time_of_the_cache_and_no_longer() -> None:
    token, key = a_key()
    store, clocks = MemoryKeyStore(key), Clocks()
    keys = ring(store, clocks)
    keys.authenticate(token)
    store.revoke(key.key_id, HOUR_ZERO)
    clocks.seconds += 4.999
    keys.authenticate(token)
    clocks.seconds += 0.001
    assert refused(keys, token) == NO_GOOD_KEY


class _SlowStore(MemoryKeyStore):
    """A store whose answers take a while."""

    def __init__(self, clocks: Clocks, *keys: ApiKey) -> None:
        super().__init__(*keys)
        self._clocks = clocks

    def get(self, key_id: str) -> ApiKey | None:
        key = super().get(key_id)
        self._clocks.seconds += 3
        return key


def test_that_time_begins_with_the_question_not_with_a_late_answer() -> None:
    clocks = Clocks()
    token, key = a_key()
    store = _SlowStore(clocks, key)
    keys = ring(store, clocks)
    keys.authenticate(token)
    store.revoke(key.key_id, HOUR_ZERO)
    clocks.seconds += 2
    assert refused(keys, token) == NO_GOOD_KEY


def test_without_a_cache_every_request_is_looked_up() -> None:
    token, key = a_key()
    store = MemoryKeyStore(key)
    keys = ring(store, Clocks(), cache_seconds=0)
    keys.authenticate(token)
    keys.authenticate(token)
    assert store.asked == [key.key_id] * 2
    store.revoke(key.key_id, HOUR_ZERO)
    assert refused(keys, token) == NO_GOOD_KEY


def test_a_key_expires_at_its_moment_also_in_the_cache() -> None:
    token, key = a_key(expires_at=HOUR_ZERO + HOUR)
    store, clocks = MemoryKeyStore(key), Clocks()
    keys = ring(store, clocks)
    clocks.now = HOUR_ZERO + HOUR - MICROSECOND
    keys.authenticate(token)
    clocks.now = HOUR_ZERO + HOUR
    assert refused(keys, token) == NO_GOOD_KEY
    assert store.asked == [key.key_id]


def test_a_wrong_secret_for_a_cached_key_is_refused_without_asking_the_store() -> None:
    token, key = a_key()
    store = MemoryKeyStore(key)
    keys = ring(store, Clocks())
    keys.authenticate(token)
    for _ in range(3):
        assert refused(keys, with_other_secret(token)) == NO_GOOD_KEY
    assert store.asked == [key.key_id]
    assert keys.known(token)


def test_only_good_keys_are_cached() -> None:
    token, key = a_key()
    unknown, other = a_key()
    store = MemoryKeyStore(key)
    keys = ring(store, Clocks())
    for wrong in (unknown, unknown, with_other_secret(token), with_other_secret(token)):
        assert refused(keys, wrong) == NO_GOOD_KEY
    assert store.asked == [other.key_id] * 2 + [key.key_id] * 2
    store.add(other)
    keys.authenticate(unknown)


def test_the_cache_is_bounded_and_forgets_the_first_ones() -> None:
    made = [a_key() for _ in range(4)]
    store = MemoryKeyStore(*(key for _, key in made))
    keys = KeyRing(store, cache_seconds=60, most_cached=3, now=lambda: HOUR_ZERO)
    for token, _ in made:
        keys.authenticate(token)
    assert [keys.known(token) is not None for token, _ in made] == [False, True, True, True]


class _StoreThatIsAway(MemoryKeyStore):
    def get(self, key_id: str) -> ApiKey | None:
        raise StoreUnavailable(key_id)


def test_a_store_that_does_not_answer_is_no_refusal() -> None:
    token, _ = a_key()
    with pytest.raises(StoreUnavailable):
        ring(_StoreThatIsAway(), Clocks()).authenticate(token)


def test_two_keys_of_one_customer_both_work_while_they_are_changed_over() -> None:
    (old_token, old), (new_token, new) = a_key(customer_id="acme"), a_key(customer_id="acme")
    store = MemoryKeyStore(old, new)
    keys = ring(store, Clocks(), cache_seconds=0)
    assert [keys.authenticate(each).key_id for each in (old_token, new_token)] == [
        old.key_id,
        new.key_id,
    ]
    store.revoke(old.key_id, HOUR_ZERO)
    assert refused(keys, old_token) == NO_GOOD_KEY
    assert keys.authenticate(new_token).key_id == new.key_id


def test_many_threads_get_the_same_answers() -> None:
    made = [a_key() for _ in range(5)]
    store, clocks = MemoryKeyStore(*(key for _, key in made)), Clocks()
    keys = ring(store, clocks, cache_seconds=0.01)
    tokens = [token for token, _ in made]
    barrier = threading.Barrier(8)

    def ask(_: int) -> Sequence[str | None]:
        barrier.wait(10)
        found = []
        for _ in range(200):
            for token in tokens:
                clocks.seconds += 0.001
                found.append(keys.authenticate(token).key_id)
        return found

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert answers == [[key.key_id for _, key in made] * 200] * 8


def test_the_store_is_closed_with_the_ring() -> None:
    store = MemoryKeyStore()
    ring(store, Clocks()).close()
    assert store.is_closed


def test_by_default_it_goes_by_the_time_in_utc() -> None:
    token, key = a_key(expires_at=datetime.max.replace(tzinfo=HOUR_ZERO.tzinfo))
    past_token, past = a_key(expires_at=HOUR_ZERO + HOUR)
    keys = KeyRing(MemoryKeyStore(key, past), cache_seconds=5)
    assert keys.authenticate(token).key_id == key.key_id
    assert refused(keys, past_token) == NO_GOOD_KEY
