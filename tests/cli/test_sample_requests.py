"""`sample_api_requests.py`: right answers pass, one falsified counter does not."""

from __future__ import annotations

import http.server
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.database import Database
from tests.support.shell import CHECKOUT, INGEST, SAMPLE, Ran, Shell, free_port, is_open, until
from tests.support.tables import Tables, rows_of

SCRIPT = CHECKOUT / "sample_api_requests.py"
CUSTOMER = "9d698ace49b14eaed7cc1ac64afef255"
RIGHT, WRONG = "right", "WRONG: this is not what resources/events.csv says"
TITLES = [
    "Is it ready?",
    "Which customers are there?",
    "All of March",
    "One hour",
    "One day, clipped at both ends",
    "Twenty minutes inside one hour",
    "Thirty years",
    "An unknown customer has no events",
    "A bad request says what is wrong",
]


@pytest.fixture(scope="module")
def serving(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shell, Tables, str]]:
    """A service that knows the sample: a shell, its tables, its address."""
    tables = Tables(database.endpoint_url, f"t{uuid.uuid4().hex}")
    shell = Shell(
        tmp_path_factory.mktemp("sample") / "here",
        {
            "DYNAMODB_ENDPOINT_URL": database.endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": tables.name,
        },
    )
    try:
        assert shell.run(INGEST, SAMPLE, "--rejects", "rejects.csv").code == 0
        port = free_port()
        command = shell.start("-m", "uvicorn", "events.app:app", "--port", str(port))
        until(lambda: is_open(port) or not command.is_running())
        assert command.is_running(), command.err
        yield shell, tables, f"http://localhost:{port}"
    finally:
        shell.end()
        tables.drop()
        tables.client.close()


def verdicts(ran: Ran) -> dict[str, str]:
    """What was said of each request, by its title."""
    said = re.findall(r"^\n(.+)\n  GET /.*\n  [0-9]{3} in [0-9]+ ms: .*\n  (.+)\n", ran.out, re.M)
    return dict(said)


def test_right_answers_are_right(serving: tuple[Shell, Tables, str]) -> None:
    shell, _, url = serving

    ran = shell.run(SCRIPT, "--url", url)

    assert (ran.code, ran.err) == (0, "")
    assert verdicts(ran) == dict.fromkeys(TITLES, RIGHT)
    assert ran.out.endswith("\n\nAll answers are right.\n")


def test_one_counter_that_is_wrong_is_found_by_each_question_that_it_answers(
    serving: tuple[Shell, Tables, str],
) -> None:
    shell, tables, url = serving
    last = max(row for row in rows_of(SAMPLE) if row[0] == CUSTOMER and row[3].month == 3)[3]
    counter = f"total#{last:%Y-%m-%d}", f"h{last:%H}"
    tables.add(CUSTOMER, *counter, 1)
    try:
        ran = shell.run(SCRIPT, "--url", url)
    finally:
        tables.add(CUSTOMER, *counter, -1)

    found = {"Which customers are there?", "All of March", "Thirty years"}
    assert (ran.code, ran.err) == (1, "")
    assert verdicts(ran) == {title: WRONG if title in found else RIGHT for title in TITLES}
    assert ran.out.endswith("\n\n3 wrong answers\n")


def test_where_no_service_answers_it_says_how_to_start_one(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "here", {})
    url = f"http://localhost:{free_port()}"

    ran = shell.run(SCRIPT, "--url", url)

    assert ran.code == 2
    said = ran.out + ran.err
    assert said.startswith(f"error: no service answers at {url} (")
    assert said.endswith("). Start it: make run\n")
    assert said.count("\n") == 1
    # As every command here: errors go where errors go.
    assert ran.out == ""


def test_where_another_program_answers_it_says_that(tmp_path: Path) -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    shell = Shell(tmp_path / "here", {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            ran = shell.run(SCRIPT, "--url", url)
        finally:
            server.shutdown()
            thread.join()

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: ")
    assert url in ran.err
