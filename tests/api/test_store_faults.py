"""A store that is down, slow, refuses or breaks: what callers see, and what the log says."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from events.config import Settings
from events.errors import StoreUnavailable
from tests.support.api import DAY_ONE, OUR_FAULT, STORE_DOWN, Api, Json, problem, serving
from tests.support.factories import event
from tests.support.sqlstore import MemoryStore, SpyStore

#: How many `def` routes run at a time: AnyIO's default.
REQUEST_THREADS = 40
QUESTIONS = [f"/events/customers/acme/buckets?{DAY_ONE}", "/events/customers", "/readyz"]


@contextmanager
def serving_with(fault: Callable[[str], None]) -> Iterator[Api]:
    """An API on a store that does `fault` before each call."""
    with serving(Settings(), SpyStore(MemoryStore(), fault)) as api:
        yield api


def impatient(endpoint_url: str) -> Settings:
    """Settings that give up after one attempt."""
    return Settings(
        dynamodb_endpoint_url=endpoint_url,
        dynamodb_events_table_name="hidden_table",
        events_store_patience_seconds=0,
    )


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that no other program gets meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_store_that_is_down_is_a_503(closed_port: int, caplog: pytest.LogCaptureFixture) -> None:
    with serving(impatient(f"http://127.0.0.1:{closed_port}")) as api:
        for path in [
            *QUESTIONS,
            *(f"{QUESTIONS[0]}&window=month&format={name}" for name in ("csv", "jsonl")),
        ]:
            caplog.clear()
            response = api.get(path)
            assert (response.status_code, problem(response)) == (503, STORE_DOWN), path
            assert response.headers["retry-after"] == "1", path
            for hidden in ("127.0.0.1", str(closed_port), "hidden_table", "ConnectionError"):
                assert hidden not in response.text + str(response.headers), path
            assert f"http://127.0.0.1:{closed_port}" in caplog.text, path
        assert api.send(event()).status_code == 503
        assert api.get("/livez").status_code == 200


@contextmanager
def store_that_answers(status: int, code: str) -> Iterator[str]:
    """An endpoint that answers every request with one error."""
    message = "User: arn:aws:iam::1:user/hidden_user may not read hidden_table"
    error = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
    body = json.dumps(error).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "AccessDeniedException", OUR_FAULT),
        (400, "ValidationException", OUR_FAULT),
        (400, "UnrecognizedClientException", OUR_FAULT),
        (400, "ProvisionedThroughputExceededException", STORE_DOWN),
        (500, "InternalServerError", STORE_DOWN),
        (503, "ServiceUnavailable", STORE_DOWN),
    ],
)
def test_the_store_s_own_message_is_only_logged(
    status: int, code: str, expected: Json, caplog: pytest.LogCaptureFixture
) -> None:
    with store_that_answers(status, code) as url, serving(impatient(url)) as api:
        for path in QUESTIONS:
            caplog.clear()
            response = api.get(path)
            assert (response.status_code, problem(response)) == (expected["status"], expected)
            assert response.headers.get("retry-after") == ("1" if expected is STORE_DOWN else None)
            for hidden in ("hidden_table", "hidden_user", code, "127.0.0.1"):
                assert hidden not in response.text + str(response.headers), path
            assert code in caplog.text, path


def test_livez_answers_while_all_threads_wait_for_the_store() -> None:
    entered, released = threading.Semaphore(0), threading.Event()

    def hang(method: str) -> None:
        if method == "day_counts":
            entered.release()
            assert released.wait(timeout=60)
            raise StoreUnavailable("too late")

    with serving_with(hang) as api, ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(api.buckets, DAY_ONE) for _ in range(REQUEST_THREADS)]
        try:
            for _ in waiting:
                assert entered.acquire(timeout=60)
            response = pool.submit(api.get, "/livez").result(timeout=60)
        finally:
            released.set()
            statuses = [request.result().status_code for request in waiting]
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert statuses == [503] * REQUEST_THREADS


def test_a_bug_is_a_500_without_details(caplog: pytest.LogCaptureFixture) -> None:
    def fail(method: str) -> None:
        if method != "close":
            raise RuntimeError(f"hidden reason: {method}")

    with serving_with(fail) as api:
        response = api.buckets(DAY_ONE)
    assert (response.status_code, problem(response)) == (500, OUR_FAULT)
    for hidden in ("hidden reason", "RuntimeError", "Traceback", ".py"):
        assert hidden not in response.text
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [str(record.exc_info[1])[:13] for record in errors if record.exc_info] == [
        "hidden reason"
    ]


def test_an_unknown_outcome_is_a_503_and_the_retry_is_exact(memory: MemoryStore) -> None:
    faults = ["write", "write"]

    def lose_the_answer(method: str) -> None:
        if method in faults:
            faults.remove(method)
            raise StoreUnavailable("no answer")

    with serving(Settings(), SpyStore(memory, lose_the_answer)) as api:
        statuses = [api.send(event("a"), event("b")).status_code for _ in range(3)]
        assert statuses == [503, 503, 200]
        assert api.send(event("a"), event("b")).json()["duplicates"] == 2
        assert api.buckets(DAY_ONE).json()["total"] == 2
