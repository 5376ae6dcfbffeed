"""`python -m events keys`: make, list and revoke API keys."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from events.auth.keyring import KeyStore
from events.auth.keys import ApiKey, Right, is_key_id, new_key
from events.bootstrap import SECONDS_TO_FIND_THE_STORE, load_settings, make_key_store
from events.cli import EXIT_OK, Commands, say, shown
from events.cli.output import write_result
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp, parse_instant
from events.errors import InvalidInput

_MOST_DAYS = 36_500
_COLUMNS = ("KEY ID", "NAME", "RIGHTS", "CUSTOMER", "CREATED", "EXPIRES", "STATE")


def add_to(commands: Commands) -> None:
    keys = commands.add_parser(
        "keys",
        help="make, list and revoke API keys",
        description="API keys, which every request needs where the service runs with "
        "EVENTS_API_KEYS=on. They are kept in the table of the events with _api_keys added to its "
        "name, and of each only a digest.",
        epilog="Exit code: 0 done, 2 not done.",
    )
    actions = keys.add_subparsers(required=True, metavar="ACTION")

    create = actions.add_parser(
        "create",
        help="make a key and print it, this once",
        description="Make a key and print it on standard output. It cannot be shown again.",
    )
    create.set_defaults(command=_create, is_service=False)
    create.add_argument("--name", required=True, metavar="NAME", help="whose it is, for the list")
    create.add_argument(
        "--right",
        required=True,
        action="append",
        choices=[right.value for right in Right],
        dest="rights",
        help="what it may do: read counts, ingest events, or admin (void and erase); none "
        "includes another, and it may be given several times",
    )
    create.add_argument("--customer", metavar="ID", help="only about this customer")
    end = create.add_mutually_exclusive_group()
    end.add_argument("--expires", metavar="TIME", help="no longer good from this time on")
    end.add_argument("--expires-in-days", type=_days, metavar="N", help="the same, N days from now")

    listing = actions.add_parser("list", help="show all keys", description="Show all keys.")
    listing.set_defaults(command=_list, is_service=False)
    listing.add_argument("--json", action="store_true", help="print one JSON array")

    revoke = actions.add_parser(
        "revoke",
        help="take a key back, for ever",
        description="Take a key back, for ever. A running service stops taking it within "
        "5 seconds.",
    )
    revoke.set_defaults(command=_revoke, is_service=False)
    revoke.add_argument("key_id", metavar="KEY_ID", help="as `keys list` shows it")


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 to {_MOST_DAYS:,}")
    return int(text)


def _create(options: argparse.Namespace) -> int:
    if options.customer is not None:
        check_customer_id(options.customer)
    now = datetime.now(UTC)
    expires_at = None
    if options.expires is not None:
        expires_at = parse_instant(options.expires, "--expires")
    elif options.expires_in_days is not None:
        expires_at = now + timedelta(days=options.expires_in_days)
    token, key = new_key(
        name=options.name,
        rights=[Right(right) for right in options.rights],
        customer_id=options.customer,
        created_at=now,
        expires_at=expires_at,
    )
    with _opened(may_make_tables=True) as store:
        if not store.add(key):  # once in 36 ** 12 times
            raise InvalidInput(f"another key has the id {key.key_id}: run this again")
    try:
        write_result(token)
    except InvalidInput as exc:
        raise InvalidInput(
            f"{exc}: nobody saw the key that was made; python -m events keys revoke {key.key_id}"
        ) from exc
    say(
        f"made key {key.key_id} ({key.name}): {_rights(key)}, {_scope(key)}, {_end(key)}. It is "
        "shown only this once: keep it where secrets are kept."
    )
    return EXIT_OK


def _list(options: argparse.Namespace) -> int:
    with _opened() as store:
        keys = store.keys()
    now = datetime.now(UTC)
    if options.json:
        write_result(json.dumps([_as_json(key, now) for key in keys]))
    elif keys:
        write_result(_table([_COLUMNS, *(_row(key, now) for key in keys)]))
    else:
        say("there is no key yet: make one with python -m events keys create")
    return EXIT_OK


def _revoke(options: argparse.Namespace) -> int:
    if not is_key_id(options.key_id):
        # Not repeated: it may be a whole key.
        raise InvalidInput(
            "that is no key id: one has 12 lower-case letters and digits, and stands in the key "
            "between the two first _"
        )
    now = datetime.now(UTC)
    with _opened() as store:
        key = store.revoke(options.key_id, now)
    if key is None:
        raise InvalidInput(f"there is no key {options.key_id}")
    if key.revoked_at == now:
        say(f"revoked key {key.key_id} ({key.name})")
    elif key.revoked_at is not None:
        at = format_timestamp(key.revoked_at)
        say(f"key {key.key_id} ({key.name}) was revoked before, at {at}")
    return EXIT_OK


@contextmanager
def _opened(*, may_make_tables: bool = False) -> Iterator[KeyStore]:
    settings = load_settings()
    store = make_key_store(
        settings,
        # Somebody waits at a terminal, and running it again is safe.
        patience_seconds=SECONDS_TO_FIND_THE_STORE,
        may_make_tables=may_make_tables,
    )
    try:
        yield store
    finally:
        store.close()


# --- what is shown --------------------------------------------------------------------------------


def _rights(key: ApiKey) -> str:
    """In the order in which rights are told."""
    return " ".join(right.value for right in Right if right in key.rights)


def _scope(key: ApiKey) -> str:
    return "all customers" if key.customer_id is None else f"customer {shown(key.customer_id)}"


def _end(key: ApiKey) -> str:
    if key.expires_at is None:
        return "never expires"
    return f"expires {format_timestamp(key.expires_at)}"


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.is_expired(now) else "good"


def _row(key: ApiKey, now: datetime) -> Sequence[str]:
    return (
        key.key_id,
        key.name,
        _rights(key),
        "all" if key.customer_id is None else shown(key.customer_id),
        _second(key.created_at),
        "never" if key.expires_at is None else _second(key.expires_at),
        _state(key, now),
    )


def _second(at: datetime) -> str:
    return f"{format_timestamp(at)[:19]}Z"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _as_json(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "rights": _rights(key).split(),
        "customer_id": key.customer_id,
        "created_at": format_timestamp(key.created_at),
        "expires_at": None if key.expires_at is None else format_timestamp(key.expires_at),
        "revoked_at": None if key.revoked_at is None else format_timestamp(key.revoked_at),
        "state": _state(key, now),
    }
