"""`sample_api_requests.py`: right answers pass, one falsified counter does not."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.database import Database
from tests.support.fixtures import dropped_at_end, shell_on
from tests.support.shell import (
    INGEST,
    SAMPLE,
    SAMPLE_REQUESTS,
    Ran,
    Shell,
    free_port,
    is_open,
    until,
)
from tests.support.tables import Tables, rows_of

CUSTOMER = "9d698ace49b14eaed7cc1ac64afef255"
RIGHT, WRONG = "right", "WRONG: resources/events.csv has other numbers"
TITLES = [
    "Is it ready?",
    "Which customers are there?",
    "All of March",
    "One hour",
    "One day, clipped at both ends",
    "Twenty minutes inside one hour",
    "Thirty years",
    "An unknown customer has no events",
    "A bad request is answered with its errors",
]


@pytest.fixture(scope="module")
def serving(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shell, Tables, str]]:
    """A running service with the sample: a shell, its tables, the service's address."""
    with (
        dropped_at_end(database.endpoint_url) as tables,
        shell_on(tables, tmp_path_factory.mktemp("sample")) as shell,
    ):
        assert shell.call(INGEST, SAMPLE, "--rejects", "rejects.csv").code == 0
        port = free_port()
        command = shell.start("-m", "uvicorn", "events.app:app", "--port", str(port))
        until(lambda: is_open(port) or not command.is_running())
        assert command.is_running(), command.err
        yield shell, tables, f"http://localhost:{port}"


def verdicts(ran: Ran) -> dict[str, str]:
    """The verdict on each request, by its title."""
    verdict = re.findall(
        r"^\n(.+)\n  GET /.*\n  [0-9]{3} in [0-9]+ ms: .*\n  (.+)\n", ran.out, re.M
    )
    return dict(verdict)


@pytest.mark.slow
def test_right_answers_pass(serving: tuple[Shell, Tables, str]) -> None:
    shell, _, url = serving

    ran = shell.call(SAMPLE_REQUESTS, "--url", url)

    assert (ran.code, ran.err) == (0, "")
    assert verdicts(ran) == dict.fromkeys(TITLES, RIGHT)
    assert ran.out.endswith("\n\nAll answers are right.\n")


@pytest.mark.slow
def test_one_wrong_counter_fails_each_question_that_reads_it(
    serving: tuple[Shell, Tables, str],
) -> None:
    shell, tables, url = serving
    last = max(row for row in rows_of(SAMPLE) if row[0] == CUSTOMER and row[3].month == 3)[3]
    counter = f"total#{last:%Y-%m-%d}", f"h{last:%H}"
    tables.add(CUSTOMER, *counter, 1)
    try:
        ran = shell.call(SAMPLE_REQUESTS, "--url", url)
    finally:
        tables.add(CUSTOMER, *counter, -1)

    wrong = {"Which customers are there?", "All of March", "Thirty years"}
    assert (ran.code, ran.err) == (1, "")
    assert verdicts(ran) == {title: WRONG if title in wrong else RIGHT for title in TITLES}
    assert ran.out.endswith("\n\n3 wrong answers\n")


def test_without_a_service_it_says_how_to_start_one(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "here", {})
    url = f"http://localhost:{free_port()}"

    ran = shell.call(SAMPLE_REQUESTS, "--url", url)

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"error: no service answers at {url} (")
    assert ran.err.endswith("). Start it: make run\n")


def test_an_answer_from_another_program_is_an_error(tmp_path: Path) -> None:
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
            ran = shell.call(SAMPLE_REQUESTS, "--url", url)
        finally:
            server.shutdown()
            thread.join()

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: ")
    assert url in ran.err
