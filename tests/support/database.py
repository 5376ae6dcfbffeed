"""The DynamoDB Local that a whole test run shares."""

from __future__ import annotations

from typing import NamedTuple


class Database(NamedTuple):
    """Where the shared DynamoDB Local answers. Tests never stop it: others are using it."""

    port: int
    pid: int

    @property
    def endpoint_url(self) -> str:
        return f"http://localhost:{self.port}"
