"""API keys: their tokens, what is stored of them, and when they are valid."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest

from events.auth.keys import ApiKey, Right, is_key_id, is_valid, key_id_of
from events.errors import InvalidInput
from tests.support.factories import DAY, HOUR, HOUR_ZERO, MICROSECOND
from tests.support.fakekeys import a_key, with_other_secret

TOKEN = "events_abcdefghij01_" + "A_-" * 14 + "z"


def test_a_token_has_an_id_of_12_characters_and_a_secret_of_43() -> None:
    token, key = a_key()
    match = re.fullmatch(r"events_([a-z0-9]{12})_([A-Za-z0-9_-]{43})", token)
    assert match
    assert (key_id_of(token), key.key_id) == (match[1], match[1])


def test_a_key_keeps_everything_but_the_secret() -> None:
    token, key = a_key(
        name="Björn’s laptop",
        rights=[Right.READ, Right.INGEST, Right.READ],
        customer_id="acme",
        expires_at=HOUR_ZERO + DAY,
    )
    assert key == ApiKey(
        key_id=token[7:19],
        name="Björn’s laptop",
        rights=frozenset({Right.READ, Right.INGEST}),
        customer_id="acme",
        digest=hashlib.sha256(token.encode()).hexdigest(),
        created_at=HOUR_ZERO,
        expires_at=HOUR_ZERO + DAY,
        revoked_at=None,
    )


def test_no_two_keys_are_equal() -> None:
    tokens = [a_key()[0] for _ in range(1_000)]
    assert len({token[:19] for token in tokens}) == len({token[20:] for token in tokens}) == 1_000


def test_repr_shows_neither_token_nor_digest() -> None:
    token, key = a_key()
    for secret in (token, token[20:], key.digest):
        assert secret not in repr(key) + str(key) + f"{key}"


def test_a_secret_may_contain_underscores() -> None:
    assert key_id_of(TOKEN) == "abcdefghij01"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "events_",
        TOKEN[:-1],
        TOKEN + "A",
        TOKEN + "\n",
        " " + TOKEN,
        TOKEN + "=",
        TOKEN.upper(),
        TOKEN.replace("events_", "event_"),
        TOKEN.replace("_abc", "-abc"),
        TOKEN.replace("abc", "Abc"),
        TOKEN.replace("abc", "ab_"),
        TOKEN.replace("01_", "0١_"),  # a digit, and not an ASCII one
        TOKEN[:-1] + "é",
        TOKEN[:-1] + "\x00",
        TOKEN[:-1] + "\ud800",
        "x" * 10_000,
    ],
)
def test_other_texts_are_not_tokens(text: str) -> None:
    assert key_id_of(text) is None


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("abcdefghij01", True), ("abcdefghij0", False), ("Abcdefghij01", False), ("", False)],
)
def test_a_key_id_is_12_lower_case_letters_and_digits(text: str, is_one: bool) -> None:
    assert is_key_id(text) == is_one
    assert not is_key_id(f"{text}\n")


def test_a_key_is_valid_only_with_its_own_token() -> None:
    token, key = a_key()
    other, _ = a_key()
    assert is_valid(key, token, HOUR_ZERO)
    assert not is_valid(key, with_other_secret(token), HOUR_ZERO)
    assert not is_valid(key, token[:20] + other[20:], HOUR_ZERO)
    assert not is_valid(key, key.digest, HOUR_ZERO)


def test_a_key_is_valid_until_it_expires() -> None:
    token, key = a_key(expires_at=HOUR_ZERO + HOUR)
    assert is_valid(key, token, HOUR_ZERO + HOUR - MICROSECOND)
    assert not is_valid(key, token, HOUR_ZERO + HOUR)
    assert [key.is_expired(HOUR_ZERO), key.is_expired(HOUR_ZERO + HOUR)] == [False, True]


def test_a_key_without_expiry_stays_valid() -> None:
    token, key = a_key()
    assert is_valid(key, token, HOUR_ZERO + 100_000 * DAY)


def test_a_revoked_key_is_never_valid() -> None:
    token, key = a_key()
    revoked = replace(key, revoked_at=HOUR_ZERO + HOUR)
    assert not is_valid(revoked, token, HOUR_ZERO)
    assert not is_valid(revoked, token, HOUR_ZERO + DAY)


@pytest.mark.parametrize(
    "name",
    ["", "x" * 101, "a\nb", "a\x00", "\x1b[31mred", "a\u202eb", "a\u200bb", " a", "a ", "\ud800"],
)
def test_a_name_with_invisible_characters_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        a_key(name=name)
    assert str(caught.value).isprintable()


def test_a_key_without_rights_or_already_expired_is_refused() -> None:
    with pytest.raises(InvalidInput, match="right"):
        a_key(rights=[])
    with pytest.raises(InvalidInput, match="expired"):
        a_key(expires_at=HOUR_ZERO)
