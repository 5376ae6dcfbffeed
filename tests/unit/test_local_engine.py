"""A program of this machine in place of DynamoDB Local."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from events.local import dynamodb
from events.local.javaserver import LocalServerError

_PROGRAM = f"""#!{sys.executable}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

_, port, number, *storage = sys.argv
if storage:
    Path(storage[1]).write_text(storage[0])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.send_header("x-amzn-requestid", "1")
        self.end_headers()


HTTPServer(("127.0.0.1", int(number)), Handler).serve_forever()
"""


@pytest.mark.parametrize("is_on_disk", [True, False])
def test_the_program_is_started_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_on_disk: bool
) -> None:
    program = tmp_path / "engine"
    program.write_text(_PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("EVENTS_LOCAL_ENGINE", str(program))
    folder = tmp_path / "data" if is_on_disk else None

    assert not dynamodb.must_be_fetched()
    with dynamodb.start(data_folder=folder) as server:
        assert dynamodb.is_answering(server.endpoint_url)
    assert not dynamodb.is_answering(server.endpoint_url)

    files = [path.name for path in folder.iterdir()] if folder else []
    assert files == (["engine.db"] if is_on_disk else [])


def test_a_missing_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_LOCAL_ENGINE", "missing-program")
    with pytest.raises(LocalServerError, match="EVENTS_LOCAL_ENGINE is missing-program, but"):
        dynamodb.start()
