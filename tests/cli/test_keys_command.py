"""`python -m events keys`: what it prints, stores and refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.support.shell import ON_FULL_DISK, Ran, Shell, free_port, needs_full_disk
from tests.support.tables import Tables

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
_TOKEN = re.compile(r"events_([a-z0-9]{12})_[A-Za-z0-9_-]{43}\n")


class Keys:
    """The command, and the table that it uses."""

    def __init__(self, shell: Shell, tables: Tables) -> None:
        self.shell = shell
        self.table = f"{tables.name}_api_keys"
        self.client = tables.client

    def __call__(self, *arguments: str) -> Ran:
        return self.shell.call("-m", "events", "keys", *arguments)

    def create(self, *arguments: str) -> tuple[str, Ran]:
        """The id of a new key, and what the command printed."""
        ran = self("create", *arguments)
        match = _TOKEN.fullmatch(ran.out)
        assert match, ran
        return match[1], ran

    def listed(self) -> list[dict[str, Any]]:
        ran = self("list", "--json")
        assert (ran.code, ran.err) == (0, "")
        keys: list[dict[str, Any]] = json.loads(ran.out)
        return keys

    def exists(self) -> bool:
        """Whether the table exists."""
        with suppress(self.client.exceptions.ResourceNotFoundException):
            self.client.describe_table(TableName=self.table)
            return True
        return False


@pytest.fixture
def keys(shell: Shell, tables: Tables) -> Iterator[Keys]:
    keys = Keys(shell, tables)
    yield keys
    with suppress(tables.client.exceptions.ResourceNotFoundException):
        tables.client.delete_table(TableName=keys.table)


def refused(ran: Ran, *words: str) -> None:
    assert (ran.code, ran.out) == (2, ""), ran
    for word in words:
        assert word in ran.err


def test_a_key_is_created_shown_once_listed_and_revoked(keys: Keys) -> None:
    key_id, made = keys.create(
        "--name", "nightly import", "--right", "ingest", "--right", "read", "--customer", "acme",
        "--expires", "2999-01-01T01:00:00+01:00",
    )  # fmt: skip
    assert (made.code, made.err) == (
        0,
        f"created key {key_id} (nightly import): read ingest, customer acme, expires "
        "2999-01-01T00:00:00.000000Z. It is shown only once: keep it where secrets are "
        "kept.\n",
    )
    (listed,) = keys.listed()
    created_at = listed.pop("created_at")
    assert re.fullmatch(TIME, created_at)
    assert listed == {
        "key_id": key_id,
        "name": "nightly import",
        "rights": ["read", "ingest"],
        "customer_id": "acme",
        "expires_at": "2999-01-01T00:00:00.000000Z",
        "revoked_at": None,
        "state": "good",
    }

    assert keys("revoke", key_id) == Ran(0, "", f"revoked key {key_id} (nightly import)\n")
    again = keys("revoke", key_id)
    assert (again.code, again.out) == (0, "")
    assert re.fullmatch(
        rf"key {key_id} \(nightly import\) was already revoked, at {TIME}\n", again.err
    )
    assert [key["state"] for key in keys.listed()] == ["revoked"]


def test_the_list_is_an_aligned_table(keys: Keys) -> None:
    first, _ = keys.create("--name", "a", "--right", "read")
    second, _ = keys.create(
        "--name", "a longer name", "--right", "admin", "--customer", "é\u200b", "--expires-in-days",
        "1",
    )  # fmt: skip
    keys("revoke", first)
    ran = keys("list")
    lines = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<a time, in seconds>", ran.out).splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert lines == [
        "KEY ID        NAME           RIGHTS  CUSTOMER  CREATED               EXPIRES"
        "               STATE",
        f"{first}  a              read    all       <a time, in seconds>  never"
        "                 revoked",
        f"{second}  a longer name  admin   é\\u200b   <a time, in seconds>  <a time, in seconds>"
        "  good",
    ]


def test_an_empty_list_says_so_and_creates_no_table(keys: Keys) -> None:
    ran = keys("list")
    assert (ran.code, ran.out) == (0, "")
    assert "keys create" in ran.err
    assert keys.listed() == []
    refused(keys("revoke", "abcdefghij01"), "error: key abcdefghij01 not found")
    assert not keys.exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--name"),
        (["--name", "a"], "--right"),
        (["--name", "a", "--right", "write"], "write"),
        (["--name", "", "--right", "read"], "name"),
        (["--name", "a\nb", "--right", "read"], "control"),
        (["--name", "a", "--right", "read", "--customer", ""], "customer_id: is empty"),
        (["--name", "a", "--right", "read", "--customer", " a"], "customer_id"),
        (["--name", "a", "--right", "read", "--expires", "soon"], "--expires"),
        (["--name", "a", "--right", "read", "--expires", "2021-03-01"], "expired"),
        (["--name", "a", "--right", "read", "--expires-in-days", "0"], "--expires-in-days"),
        (["--name", "a", "--right", "read", "--expires-in-days", "x"], "--expires-in-days"),
        (
            ["--name", "a", "--right", "read", "--expires-in-days", "1", "--expires", "2999-01-01"],
            "cannot be used together",
        ),
    ],
)
def test_invalid_options_create_nothing(keys: Keys, arguments: list[str], word: str) -> None:
    refused(keys("create", *arguments), word)
    assert not keys.exists()


def test_an_invalid_key_id_is_refused_and_not_repeated(keys: Keys) -> None:
    for text in ("", "ABCDEFGHIJ01", "events_abcdefghij01_" + "x" * 43):
        ran = keys("revoke", text)
        refused(ran, "invalid key id")
        assert not text or text not in ran.err


@pytest.mark.slow
def test_a_database_that_does_not_answer_is_reported(keys: Keys) -> None:
    keys.shell.settings["DYNAMODB_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
    for arguments in (
        ["create", "--name", "a", "--right", "read"],
        ["list"],
        ["revoke", "abcdefghij01"],
    ):
        refused(keys(*arguments), "error: the store at", "did not answer in time")


@needs_full_disk
def test_a_key_that_could_not_be_printed_is_named_to_be_revoked(keys: Keys) -> None:
    command = ("-m", "events", "keys", "create", "--name", "lost", "--right", "read")
    ran = keys.shell.run("-c", ON_FULL_DISK, *command)
    (key,) = keys.listed()
    assert ran == Ran(
        2,
        "",
        "error: cannot write to standard output: No space left on device. The new key was never "
        f"shown; revoke it: python -m events keys revoke {key['key_id']}\n",
    )
