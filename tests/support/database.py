"""The DynamoDB Local that a whole test run shares."""

from __future__ import annotations

from typing import NamedTuple

import psutil

from tests.support.shell import until


class Database(NamedTuple):
    """Where the shared DynamoDB Local answers. Tests never stop it: others are using it."""

    port: int
    pid: int

    @property
    def endpoint_url(self) -> str:
        return f"http://localhost:{self.port}"

    def wait_until_settled(self) -> None:
        """Wait until it is done with everything that processes had sent before they were killed."""
        server = psutil.Process(self.pid)
        until(
            lambda: all(
                connection.status != psutil.CONN_CLOSE_WAIT
                for connection in server.net_connections(kind="tcp")
            )
        )
