"""`python -m events keys`: create, list and revoke API keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from events.auth.keys import ApiKey, Right, is_key_id, new_key
from events.cli import EXIT_OK, check_at_most_one, command, make_app, printable, say
from events.cli.options import Json, OneCustomer
from events.cli.output import table_text, write_json, write_result
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp, parse_instant
from events.errors import InvalidInput

if TYPE_CHECKING:
    from events.auth.keyring import KeyStore

_COLUMNS = ("KEY ID", "NAME", "RIGHTS", "CUSTOMER", "CREATED", "EXPIRES", "STATE")
Name = Annotated[str, Option(metavar="NAME", help="Who uses the key; shown in the list.")]
Rights = Annotated[
    list[Right],
    Option(
        "--right",
        help="What the key may do: read counts, ingest events, or admin (void and erase). No "
        "right includes another; repeatable.",
    ),
]
Expires = Annotated[
    str | None, Option(metavar="TIME", help="The key is invalid from this time on.")
]
ExpiresInDays = Annotated[
    int | None, Option(min=1, max=36_500, metavar="N", help="Or: days until it expires.")
]
KeyId = Annotated[str, Argument(metavar="KEY_ID", help="As `keys list` shows it.")]

app = make_app("""
    Create, list and revoke API keys.

    With EVENTS_API_KEYS=on every request to the service needs a key. Keys are stored in a table
    of their own, named like the events table with _api_keys added; only a digest of each key is
    stored.

    Exit code: 0 done; 2 not done.
    """)


@app.command()
@command()
def create(
    name: Name, right: Rights, customer: OneCustomer = None, expires: Expires = None,
    expires_in_days: ExpiresInDays = None,
) -> int:  # fmt: skip
    """Create a key and print it on standard output. It cannot be shown again."""
    check_at_most_one(expires=expires is not None, expires_in_days=expires_in_days is not None)
    if customer is not None:
        check_customer_id(customer)
    now = datetime.now(UTC)
    expires_at = None
    if expires is not None:
        expires_at = parse_instant(expires, "--expires")
    elif expires_in_days is not None:
        expires_at = now + timedelta(days=expires_in_days)
    token, key = new_key(
        name=name, rights=right, customer_id=customer, created_at=now, expires_at=expires_at
    )
    with _open_store(may_make_tables=True) as store:
        if not store.add(key):  # once in 36 ** 12 times
            raise InvalidInput(f"a key with the id {key.key_id} already exists: run this again")
    try:
        write_result(token)
    except InvalidInput as exc:
        raise InvalidInput(
            f"{exc}. The new key was never shown; revoke it: "
            f"python -m events keys revoke {key.key_id}"
        ) from exc
    scope = "all customers" if key.customer_id is None else f"customer {printable(key.customer_id)}"
    end = f"expires {format_timestamp(expires_at)}" if expires_at else "never expires"
    say(
        f"created key {key.key_id} ({key.name}): {' '.join(_rights(key))}, {scope}, {end}. It is "
        "shown only once: keep it where secrets are kept."
    )
    return EXIT_OK


@app.command("list")
@command()
def list_keys(json: Json = False) -> int:
    """List all keys."""
    with _open_store() as store:
        keys = store.keys()
    now = datetime.now(UTC)
    if json:
        write_json([_as_json(key, now) for key in keys])
    elif keys:
        write_result(table_text([_COLUMNS, *(_row(key, now) for key in keys)]))
    else:
        say("no keys yet: create one with python -m events keys create")
    return EXIT_OK


@app.command()
@command()
def revoke(key_id: KeyId) -> int:
    """
    Revoke a key, forever.

    A running service stops accepting it within 5 seconds.
    """
    if not is_key_id(key_id):
        # The message does not repeat the text, which may be a whole key.
        raise InvalidInput(
            "invalid key id: a key id has 12 lower-case letters and digits; in the key it stands "
            "between the first two underscores"
        )
    now = datetime.now(UTC)
    with _open_store() as store:
        key = store.revoke(key_id, now)
    if key is None:
        raise InvalidInput(f"key {key_id} not found")
    if key.revoked_at is None or key.revoked_at == now:
        say(f"revoked key {key_id} ({key.name})")
    else:
        at = format_timestamp(key.revoked_at)
        say(f"key {key_id} ({key.name}) was already revoked, at {at}")
    return EXIT_OK


@contextmanager
def _open_store(*, may_make_tables: bool = False) -> Iterator[KeyStore]:
    from events.bootstrap import SECONDS_TO_FIND_THE_STORE, load_settings, make_key_store

    # Short: somebody waits at a terminal, and running the command again is safe.
    patience = SECONDS_TO_FIND_THE_STORE
    store = make_key_store(
        load_settings(), patience_seconds=patience, may_make_tables=may_make_tables
    )
    with closing(store):
        yield store


# --- how keys are shown ---------------------------------------------------------------------------


def _rights(key: ApiKey) -> list[str]:
    """The rights of a key, always in the same order."""
    return [right.value for right in Right if right in key.rights]


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.is_expired(now) else "good"


def _row(key: ApiKey, now: datetime) -> tuple[str, ...]:
    return (
        key.key_id,
        key.name,
        " ".join(_rights(key)),
        "all" if key.customer_id is None else printable(key.customer_id),
        _to_the_second(key.created_at),
        "never" if key.expires_at is None else _to_the_second(key.expires_at),
        _state(key, now),
    )


def _to_the_second(at: datetime) -> str:
    return f"{format_timestamp(at)[:19]}Z"


def _as_json(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "rights": _rights(key),
        "customer_id": key.customer_id,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "state": _state(key, now),
    }
