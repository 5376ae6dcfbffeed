"""API keys: tokens, and what is stored of them. Pure."""

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
_KEY_ID = "[a-z0-9]{12}"
_TOKEN = re.compile(f"events_({_KEY_ID})_[A-Za-z0-9_-]{{43}}")
_MAX_NAME_CHARACTERS = 100


class Right(Enum):
    """What a key may do. No right includes another."""

    READ = "read"
    INGEST = "ingest"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """
    What is stored of a key. The token cannot be derived from it.

    Args:
        customer_id: The only customer that the key is for; None means all customers.
        digest: SHA-256 of the whole token, in hexadecimal.
        expires_at: The first moment at which the key is no longer valid; None means never.
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
    Create a key.

    Returns:
        The token, which is stored nowhere, and the key.

    Raises:
        InvalidInput: The name is not printable, there is no right, or the key is expired already.
    """
    if not rights:
        raise InvalidInput("an API key needs at least one right")
    if expires_at is not None and expires_at <= created_at:
        raise InvalidInput("the key would have expired already: use a later expiry time")
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
    if not 1 <= len(name) <= _MAX_NAME_CHARACTERS:
        raise InvalidInput(f"the name of a key must have 1 to {_MAX_NAME_CHARACTERS} characters")
    # Also invisible and right-to-left characters: a list of keys must show each name as it is.
    if not name.isprintable() or name != name.strip():
        raise InvalidInput(
            f"the name {name!a} has control or invisible characters, or leading or trailing spaces"
        )
    return name


def key_id_of(token: str) -> str | None:
    """The id in a token; None if the text is not a token."""
    match = _TOKEN.fullmatch(token)
    return None if match is None else match[1]


def is_key_id(text: str) -> bool:
    return re.fullmatch(_KEY_ID, text) is not None


def digest_of(token: str) -> str:
    # A fast hash is enough: nobody can guess 32 random bytes.
    return hashlib.sha256(token.encode()).hexdigest()


def is_valid(key: ApiKey, token: str, now: datetime) -> bool:
    """Whether a well-formed token is this key's, and the key is neither expired nor revoked."""
    matches = hmac.compare_digest(key.digest, digest_of(token))
    return matches and key.revoked_at is None and not key.is_expired(now)
