"""What docs/aws.md lets each program do, and what was really asked of a database."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "aws.md"
#: The end of a table's name → the actions on it; "" is the events' table.
Rights = dict[str, set[str]]

_ARN = "arn:aws:dynamodb:REGION:ACCOUNT:table/customer_events"
_POLICY = re.compile(
    r"^### (.+?)\n(?:(?!^#)[^`]|`(?!``))*?^```json\n(.+?)^```", re.MULTILINE | re.DOTALL
)


def policies() -> dict[str, Any]:
    """The policies of the document by their headings."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return {heading: json.loads(policy) for heading, policy in _POLICY.findall(text)}


def rights_of(*policies: Any) -> Rights:
    """What some policies allow together."""
    rights: Rights = {}
    for statement in (item for policy in policies for item in policy["Statement"]):
        resources = statement["Resource"]
        for arn in [resources] if isinstance(resources, str) else resources:
            assert arn.startswith(_ARN), arn
            actions = {action.removeprefix("dynamodb:") for action in statement["Action"]}
            rights.setdefault(arn.removeprefix(_ARN), set()).update(actions)
    return rights


class Recorder:
    """
    A way to a database that notes what is asked of it, as AWS would judge it.

    Args:
        port: Of the database, on this machine.
    """

    def __init__(self, port: int) -> None:
        recorder = self
        self._asked: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                recorder._note(self.headers["X-Amz-Target"], json.loads(body))
                database = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                database.request("POST", self.path, body, dict(self.headers))
                answer = database.getresponse()
                content = answer.read()
                database.close()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Print nothing on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _note(self, target: str, request: Any) -> None:
        operation = target.rpartition(".")[2]
        if operation == "BatchWriteItem":
            self._asked += [(table, operation) for table in request["RequestItems"]]
            return
        if operation != "TransactWriteItems":
            self._asked.append((request["TableName"], operation))
            return
        for action in request["TransactItems"]:
            for kind, part in action.items():
                self._asked.append((part["TableName"], f"{kind}Item"))

    def rights(self, events_table: str) -> Rights:
        """What was asked since the last call."""
        asked, self._asked = self._asked, []
        rights: Rights = {}
        for table, action in asked:
            rights.setdefault(table.removeprefix(events_table), set()).add(action)
        return rights


@contextmanager
def recording(port: int) -> Iterator[Recorder]:
    recorder = Recorder(port)
    try:
        yield recorder
    finally:
        recorder.close()
