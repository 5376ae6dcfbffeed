"""The application as uvicorn calls it on this machine, for Starlette's test client."""

from __future__ import annotations

from urllib.parse import unquote

from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send


def as_served(app: ASGIApp) -> ASGIApp:
    """
    `app` with requests as they come from this machine, over a loopback address.

    The test client calls itself `testclient` and the server `testserver`, which are not addresses;
    and it alone decodes a path twice, `a%252Fb` to `a/b`.
    """

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = unquote(scope["raw_path"].decode("ascii"))
            if scope["server"][0] == "testserver":
                scope["server"] = ("127.0.0.1", scope["server"][1])
            if scope["client"][0] == "testclient":
                scope["client"] = ("127.0.0.1", scope["client"][1])
            scope["headers"] = [
                (name, b"localhost" if (name, value) == (b"host", b"testserver") else value)
                for name, value in scope["headers"]
            ]
        await app(scope, receive, send)

    return served


def client_of(app: ASGIApp) -> TestClient:
    """A client on this machine that gets an answer to a mistake as well."""
    return TestClient(as_served(app), raise_server_exceptions=False)
