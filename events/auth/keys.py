"""API keys: their text, and what is kept of it; pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from events.errors import InvalidInput

_KEY_ID_CHARACTERS = string.ascii_lowercase + string.digits
_KEY_ID_LENGTH = 12
_SECRET_BYTES = 32
# Fixed widths: a secret in base64url may hold the `_` that stands between the parts.
_TOKEN = re.compile(r"events_([a-z0-9]{12})_[A-Za-z0-9_-]{43}")
_LONGEST_NAME = 100


class Right(Enum):
    """What a key may do; none of these includes another."""

    READ = "read"
    INGEST = "ingest"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """
    All that is kept of a key; the token cannot be made from it.

    Args:
        customer_id: The one customer that it is about; None means all.
        digest: SHA-256 of the whole token, in hexadecimal.
        expires_at: The first moment at which it is no longer good; None means never.
        revoked_at: When it was taken back.
    """

    key_id: str
    name: str
    rights: frozenset[Right]
    customer_id: str | None
    digest: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def new_key(
    *,
    name: str,
    rights: Collection[Right],
    customer_id: str | None,
    created_at: datetime,
    expires_at: datetime | None,
) -> tuple[str, ApiKey]:
    """
    A new key and its token, which is kept nowhere.

    Raises:
        InvalidInput: The name cannot be shown, it has no right, or it would never be good.
    """
    if not rights:
        raise InvalidInput("a key without any right is good for nothing: give it one")
    if expires_at is not None and expires_at <= created_at:
        raise InvalidInput("the key would have expired before it is made: give a later time")
    key_id = "".join(secrets.choice(_KEY_ID_CHARACTERS) for _ in range(_KEY_ID_LENGTH))
    secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=")
    token = f"events_{key_id}_{secret}"
    return token, ApiKey(
        key_id=key_id,
        name=_checked_name(name),
        rights=frozenset(rights),
        customer_id=customer_id,
        digest=digest_of(token),
        created_at=created_at,
        expires_at=expires_at,
    )


def _checked_name(name: str) -> str:
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise InvalidInput(f"the name of a key has 1 to {_LONGEST_NAME} characters")
    # Also what turns text around or hides in it: a list of keys must show what there is.
    if not name.isprintable() or name != name.strip():
        raise InvalidInput(
            f"the name {name!a} has control or invisible characters, or a space at its start or end"
        )
    return name


def key_id_of(token: str) -> str | None:
    """The id in a token; None where the text is no token."""
    match = _TOKEN.fullmatch(token)
    return None if match is None else match[1]


def is_key_id(text: str) -> bool:
    return re.fullmatch(r"[a-z0-9]{12}", text) is not None


def digest_of(token: str) -> str:
    # A plain hash is enough: nobody guesses 32 random bytes, however fast it is.
    return hashlib.sha256(token.encode()).hexdigest()


def is_good(key: ApiKey, token: str, now: datetime) -> bool:
    """Whether `token`, which has the form of one, is this key's and may be used now."""
    is_its_own = hmac.compare_digest(key.digest, digest_of(token))
    return is_its_own and key.revoked_at is None and not key.is_expired(now)
