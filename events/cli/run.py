"""Everything at once on a laptop: database, sample events, API."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from events.app import create_app
from events.bootstrap import load_settings
from events.config import Settings
from events.errors import EventsError, InvalidInput
from events.local import dynamodb
from events.server import process as server_process
from events.server.binding import bind
from events.telemetry import logs

_CHECKOUT = Path(__file__).parents[2]
_SAMPLE = _CHECKOUT / "resources" / "events.csv"
#: The customer with the most events in the sample.
_SAMPLE_CUSTOMER = "9d698ace49b14eaed7cc1ac64afef255"


class RunError(EventsError):
    """The run cannot go on."""


def run(*, file: Path | None, port: int, data_folder: Path | None) -> None:
    """
    Start what is missing, store the events of a file, serve the API until told to stop.

    Args:
        file: None is the sample.
        port: Of the API, on 127.0.0.1.
        data_folder: Of the database, if it is started here; None is the ignored folder of the
            checkout.

    Raises:
        EventsError: A part cannot be started, or the file cannot be read.
        KeyboardInterrupt: It was told to stop, and all is stopped.
    """
    settings = load_settings()
    _check_port(port)
    with ExitStack() as started:
        _start_database(settings, data_folder or dynamodb.DATA_FOLDER, started)
        _ingest(file or Path(os.path.relpath(_SAMPLE)))
        _serve(settings, port, started)


def _start_database(settings: Settings, folder: Path, started: ExitStack) -> None:
    url = settings.dynamodb_endpoint_url
    if not settings.is_local:
        _say(f"Using DynamoDB at {url or 'AWS'}.")
        return
    if dynamodb.is_answering(url):
        _say(f"Using the DynamoDB that answers at {url}.")
        return
    port = urlsplit(url).port
    if port is None:
        raise InvalidInput(f"DYNAMODB_ENDPOINT_URL is {url}: add the port, such as :9000")
    if dynamodb.must_be_fetched():
        _say(f"Fetching DynamoDB Local {dynamodb.VERSION}, once; this takes about a minute …")
    started.enter_context(dynamodb.start(port=port, data_folder=folder))
    _say(f"DynamoDB Local answers at {url}, its data is in {os.path.relpath(folder)}.")


def _ingest(file: Path) -> None:
    script = _CHECKOUT / "ingest_events_from_file.py"
    # What a user would type; it says itself what it does. In a session of its own, because a
    # Ctrl-C that reaches it and then our request to stop would be its second signal.
    process = subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, str(script), str(file)], start_new_session=True
    )
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code not in (0, 1):
        raise RunError(f"the events of {file} could not be stored, see above")


def _serve(settings: Settings, port: int, started: ExitStack) -> None:
    # What is asked is not listed here: this is for whoever sits before it.
    logs.configure(settings.events_log_format, "warning")

    def end_at_once(number: int) -> None:
        started.close()
        server_process.end_at_once(number)

    server = server_process.Server(
        create_app(settings),
        on_ready=lambda: _say(_welcome(port)),
        on_second_signal=end_at_once,
    )
    server.run(bind("127.0.0.1", port))
    if not server.started:
        raise RunError("the API could not start, see above")
    raise KeyboardInterrupt


def _welcome(port: int) -> str:
    base = f"http://localhost:{port}"
    # As it can be typed here: the virtual environment of `make run` is not active.
    program = Path(sys.executable)
    is_here = program.is_relative_to(Path.cwd())
    python = program.relative_to(Path.cwd()) if is_here else "python"
    option = "" if port == 8800 else f" --url {base}"
    buckets = f"{base}/events/customers/{_SAMPLE_CUSTOMER}/buckets"
    return f"""
The API answers at {base}. Open {base}/ in a browser, or try:

  curl '{buckets}?start=2021-03-01T00:00:00Z&end=2021-03-02T00:00:00Z'
  curl '{buckets}?start=2021-03-01&end=2021-04-01&format=csv'
  curl '{base}/events/customers'
  curl {base}/events -H 'Content-Type: application/json' -d '{{"events": [{{"customer_id": "acme",
    "event_type": "page_view", "transaction_id": "t-1", "timestamp": "2026-11-24T10:00:05Z"}}]}}'
  {python} sample_api_requests.py{option}
  {python} -m events verify

Its description is {base}/openapi.json. Ctrl-C stops everything; the data stays.
"""


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise InvalidInput(
                f"port {port} is taken by another program: stop that, or choose another with --port"
            ) from exc


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
