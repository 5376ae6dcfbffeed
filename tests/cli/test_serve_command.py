"""`python -m events serve`: start, stop, and stop while requests are in flight."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import psutil
import pytest

from events.server.process import WORKER_SECONDS
from tests.support.shell import Command, Ran, Shell, free_port, is_open, until

DAY = "/events/customers/acme/buckets?start=2021-03-01&end=2021-03-02"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


def ask(port: int, path: str) -> Answer:
    """One request on a connection of its own."""
    try:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60)
    except urllib.error.HTTPError as exc:
        answer = exc
    with answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        body = answer.read().decode()
    is_json = "json" in headers["content-type"]
    return Answer(answer.status, headers, json.loads(body) if is_json else body)


def started(shell: Shell, port: int, *arguments: str, **settings: str) -> Command:
    """A server that answers, and waits for a store that the test holds."""
    settings = {"EVENTS_STORE_PATIENCE_SECONDS": "300", **settings}
    command = shell.start(
        "-m", "events", "serve", "--port", str(port), *arguments, settings=settings
    )
    until(lambda: "The API is ready at" in command.err or not command.is_running())
    assert command.is_running(), command.err
    return command


def records(command: Command) -> list[dict[str, Any]]:
    """Its log: every line is a JSON object."""
    return [json.loads(line) for line in command.err.splitlines()]


def end_well(command: Command, number: signal.Signals = signal.SIGTERM) -> Ran:
    processes = [psutil.Process(command.process.pid), *command.children()]
    command.signal(number)
    ran = command.ended()
    until(lambda: not any(process.is_running() for process in processes))
    return ran


class SlowStore(ThreadingHTTPServer):
    """An empty store that answers once it is released."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SlowStoreHandler)
        self.asked = threading.Event()
        self.released = threading.Event()
        self.says = 200, b'{"Items": [], "Count": 0, "ScannedCount": 0}'

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _SlowStoreHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SlowStore

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.set()
        self.server.released.wait(120)
        status, body = self.server.says
        self.send_response(status)
        self.send_header("x-amzn-requestid", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture
def store() -> Iterator[SlowStore]:
    with _serving(SlowStore()) as store:
        yield store


@contextmanager
def _serving(store: SlowStore) -> Iterator[SlowStore]:
    thread = threading.Thread(target=store.serve_forever, args=(0.01,))
    thread.start()
    yield store
    store.released.set()
    store.shutdown()
    thread.join()
    store.server_close()


# --- one process ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_serve_answers_and_stops_with_exit_code_0(shell: Shell, number: signal.Signals) -> None:
    port = free_port()
    command = started(shell, port)
    # The first check creates the tables, which may take longer than a check waits.
    until(lambda: ask(port, "/readyz").status == 200)
    answers = [ask(port, path) for path in ("/readyz", DAY)]
    ran = end_well(command, number)
    lines = records(command)

    assert [answer.status for answer in answers] == [200, 200]
    assert answers[1].body["total"] == 0
    assert (ran.code, ran.out, is_open(port)) == (0, "", False)
    assert [record["message"] for record in lines if "is ready at" in record["message"]] == [
        f"The API is ready at http://127.0.0.1:{port}; /openapi.json describes it. SIGTERM or "
        "Ctrl-C stops it."
    ]
    asked = [record for record in lines if record["logger"] == "events.api.accesslog"]
    assert [(item["route"], item["status"], item["request_id"]) for item in asked[-2:]] == [
        ("/readyz", 200, answers[0].headers["x-request-id"]),
        ("/events/customers/{customer_id}/buckets", 200, answers[1].headers["x-request-id"]),
    ]


@pytest.mark.slow
def test_requests_in_flight_are_answered_once_it_has_drained(
    lone_shell: Shell, store: SlowStore
) -> None:
    port = free_port()
    command = started(lone_shell, port, "--drain", "0.5", DYNAMODB_ENDPOINT_URL=store.url)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, port, DAY)
        assert store.asked.wait(60)
        command.signal(signal.SIGTERM)
        until(lambda: not is_open(port))
        time.sleep(0.3)  # uvicorn waits 0.1 s even if it may not wait for requests
        assert command.is_running()
        store.released.set()
        assert (answer.result().status, answer.result().body["total"]) == (200, 0)
    assert command.ended().code == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_it_answers_at_once_and_while_it_drains_but_is_not_ready(
    lone_shell: Shell, store: SlowStore, workers: str
) -> None:
    port = free_port()
    store.released.set()
    command = started(
        lone_shell,
        port,
        *("--workers", workers, "--drain", "300"),
        DYNAMODB_ENDPOINT_URL=store.url,
    )
    before = ask(port, "/readyz").status
    seconds = on_a_kept_connection(port)
    command.signal(signal.SIGTERM)
    until(lambda: ask(port, "/readyz").status == 503)
    ready, answer = ask(port, "/readyz"), ask(port, DAY)
    command.signal(signal.SIGTERM)  # or it would drain for five minutes
    code = command.ended().code

    assert (before, ready.status, ready.body["title"]) == (200, 503, "The server is stopping")
    assert (answer.status, code) == (200, 128 + signal.SIGTERM)
    # With Nagle's algorithm every answer takes 40 ms, however idle the machine is.
    assert min(seconds) < 0.03


def on_a_kept_connection(port: int) -> list[float]:
    """How long each of 50 requests took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    seconds = []
    for _ in range(50):
        begin = time.monotonic()
        connection.request("GET", "/livez")
        connection.getresponse().read()
        seconds.append(time.monotonic() - begin)
    connection.close()
    return seconds


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(lone_shell: Shell, store: SlowStore) -> None:
    port = free_port()
    command = started(lone_shell, port, DYNAMODB_ENDPOINT_URL=store.url)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, port, DAY)
        assert store.asked.wait(60)
        command.signal(signal.SIGTERM)
        until(lambda: not is_open(port))
        command.signal(signal.SIGTERM)
        code = command.ended().code
        with pytest.raises(OSError, match=r"."):
            answer.result()
    assert code == 128 + signal.SIGTERM


@pytest.mark.slow
def test_answers_have_the_security_headers_and_hide_the_store(
    lone_shell: Shell, store: SlowStore
) -> None:
    port = free_port()
    store.released.set()
    store.says = 400, b'{"__type": "x#AccessDeniedException", "message": "hidden_table"}'
    # The line that says that it is ready is logged at every log level.
    command = started(lone_shell, port, DYNAMODB_ENDPOINT_URL=store.url, EVENTS_LOG_LEVEL="error")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as silent:
        answers = [ask(port, path) for path in ("/livez", "/nope", DAY)]
        head = urllib.request.Request(f"http://127.0.0.1:{port}/livez", method="HEAD")
        with urllib.request.urlopen(head, timeout=60) as answer:
            headed = answer.status, answer.read(), answer.headers["content-length"]
        # A client that sends nothing is closed.
        with suppress(ConnectionResetError):
            assert silent.recv(1) == b""
    end_well(command)

    assert [answer.status for answer in answers] == [200, 404, 500]
    for answer in answers:
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
    assert "hidden" not in str(answers)
    assert headed == (200, b"", "15")


# --- several processes ----------------------------------------------------------------------------


def workers_of(command: Command) -> set[int]:
    """Without the tracker of shared resources that Python starts beside the workers."""
    pids = set()
    for process in command.children():
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(process.cmdline()):
                pids.add(process.pid)
    return pids


def livez_counted(port: int) -> float:
    numbers = re.findall(
        r'^events_http_requests_total\{method="GET",route="/livez",status="200"\} (.+)$',
        ask(port, "/metrics").body,
        re.MULTILINE,
    )
    return sum(map(float, numbers))


@pytest.mark.slow
def test_workers_share_port_and_metrics_and_answer_before_they_stop(
    lone_shell: Shell, store: SlowStore
) -> None:
    port = free_port()
    store.released.set()
    lone_shell.settings["TMPDIR"] = str(lone_shell.folder)
    command = started(lone_shell, port, "--workers", "2", DYNAMODB_ENDPOINT_URL=store.url)
    first = workers_of(command)
    for _ in range(20):
        assert ask(port, "/livez").status == 200
    counted = [livez_counted(port) for _ in range(4)]
    answer = ask(port, DAY)

    killed = min(first)
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(workers_of(command) - {killed}) == 2)
    until(lambda: f"worker {killed} died" in command.err)
    second = workers_of(command)
    for _ in range(20):
        assert ask(port, "/livez").status == 200
    counted.append(livez_counted(port))

    store.asked.clear()
    store.released.clear()
    processes = command.children()
    with ThreadPoolExecutor(1) as pool:
        in_flight = pool.submit(ask, port, DAY)
        assert store.asked.wait(60)
        # Some process managers signal every process: each worker gets two signals.
        command.signal(signal.SIGTERM)
        for pid in second:
            os.kill(pid, signal.SIGTERM)
        until(lambda: not is_open(port))
        store.released.set()
        assert in_flight.result().status == 200
    ran = command.ended()
    until(lambda: not any(process.is_running() for process in processes))

    assert (len(first), len(second), len(first & second)) == (2, 2, 1)
    assert counted == [20, 20, 20, 20, 40]
    assert (answer.status, answer.body["total"]) == (200, 0)
    assert (ran.code, ran.out, is_open(port)) == (0, "", False)
    messages = [record["message"] for record in records(command)]
    assert messages.count(f"worker {killed} died and was replaced") == 1
    assert len([message for message in messages if "is ready at" in message]) == 1
    # The folder of shared metrics is deleted.
    assert list(lone_shell.folder.iterdir()) == []


@pytest.mark.slow
def test_a_worker_that_dies_before_it_answers_is_replaced_at_once(lone_shell: Shell) -> None:
    command = started(lone_shell, free_port(), "--workers", "2")
    worker = min(workers_of(command))
    os.kill(worker, signal.SIGSTOP)
    time.sleep(2)  # the supervisor asks each worker twice a second whether it is alive
    os.kill(worker, signal.SIGKILL)
    until(
        lambda: f"worker {worker} died and was replaced" in command.err,
        timeout_seconds=WORKER_SECONDS - 10,
    )
    end_well(command)


@pytest.mark.slow
def test_workers_stop_when_their_supervisor_is_killed(lone_shell: Shell, store: SlowStore) -> None:
    port = free_port()
    command = started(lone_shell, port, "--workers", "2", DYNAMODB_ENDPOINT_URL=store.url)
    workers = [psutil.Process(pid) for pid in workers_of(command)]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, port, DAY)
        assert store.asked.wait(60)
        command.signal(signal.SIGKILL)
        until(lambda: not is_open(port))
        store.released.set()
        assert answer.result().status == 200
    until(lambda: not any(worker.is_running() for worker in workers))


@pytest.mark.slow
def test_a_second_signal_ends_workers_at_once(lone_shell: Shell, store: SlowStore) -> None:
    port = free_port()
    lone_shell.settings["TMPDIR"] = str(lone_shell.folder)
    command = started(lone_shell, port, "--workers", "2", DYNAMODB_ENDPOINT_URL=store.url)
    workers = [psutil.Process(pid) for pid in workers_of(command)]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, port, DAY)
        assert store.asked.wait(60)
        command.signal(signal.SIGINT)
        until(lambda: not is_open(port))
        command.signal(signal.SIGINT)
        code = command.ended().code
        with pytest.raises(OSError, match=r"."):
            answer.result()
    until(lambda: not any(worker.is_running() for worker in workers))
    assert (code, list(lone_shell.folder.iterdir())) == (128 + signal.SIGINT, [])
