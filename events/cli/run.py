"""`python -m events run`: database, sample events and API, all at once."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from typer import Option

from events.cli import EXIT_DIFFERENT, EXIT_OK, command, say
from events.cli.options import Port
from events.errors import EventsError, InvalidInput

if TYPE_CHECKING:
    from events.config import Settings

_ROOT = Path(__file__).parents[2]
#: In the checkout, or in the installed package.
_SAMPLES = (_ROOT / "resources" / "events.csv", _ROOT / "events" / "local" / "events.csv")
#: The customer with the most events in the sample.
_SAMPLE_CUSTOMER = "9d698ace49b14eaed7cc1ac64afef255"

File = Annotated[Path | None, Option(metavar="FILE", help="Events to store (default: the sample).")]
Data = Annotated[
    Path | None,
    Option(metavar="FOLDER", help="Where to keep the data (default: .local/data of the checkout)."),
]


class RunError(EventsError):
    """A part of `run` failed, and has already reported why."""


@command(exit_when_stopped=EXIT_OK)
def run(port: Port = 8800, file: File = None, data: Data = None) -> int:
    """
    Run database, sample events and API.

    Starts DynamoDB Local unless EVENTS_DATABASE_URL is set or a database answers at
    DYNAMODB_ENDPOINT_URL, stores the sample events and serves the API. Ctrl-C or SIGTERM stops
    everything that was started; the data is kept for the next run.

    Exit code: 0 stopped; 2 could not run.
    """
    from events.bootstrap import load_settings
    from events.local import dynamodb
    from events.local.javaserver import check_port

    settings = load_settings()
    check_port(port)
    with ExitStack() as stack:
        _start_database(settings, data or dynamodb.DATA_FOLDER, stack)
        _ingest(file or Path(os.path.relpath(next(filter(Path.exists, _SAMPLES)))))
        _serve(settings, port, stack)
    raise KeyboardInterrupt  # the server ends only when it is stopped


def _start_database(settings: Settings, folder: Path, stack: ExitStack) -> None:
    from events.bootstrap import check_store_settings
    from events.local import dynamodb

    if settings.events_database_url:
        say(f"Using the database {check_store_settings(settings)}.")
        return
    url = settings.dynamodb_endpoint_url
    if not settings.is_local:
        say(f"Using DynamoDB at {url or 'AWS'}.")
        return
    if dynamodb.is_answering(url):
        say(f"Using the DynamoDB that is running at {url}.")
        return
    port = urlsplit(url).port
    if port is None:
        raise InvalidInput(f"DYNAMODB_ENDPOINT_URL is {url}: add the port, such as :9000")
    if dynamodb.must_be_fetched():
        say(f"Downloading DynamoDB Local {dynamodb.VERSION}, once; this takes about a minute …")
    stack.enter_context(dynamodb.start(port=port, data_folder=folder))
    say(f"{dynamodb.name()} is ready at {url}, data in {folder}.")


def _ingest(file: Path) -> None:
    program = "import sys; from events.cli.load import main; sys.exit(main())"
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # In a session of its own: Ctrl-C on the terminal must reach it once, through us, since a
    # second signal would end it without its summary.
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", program, str(file)],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code not in (EXIT_OK, EXIT_DIFFERENT):
        raise RunError(f"could not store the events of {file}, see above")


def _serve(settings: Settings, port: int, stack: ExitStack) -> None:
    from events.app import create_app
    from events.server import process
    from events.server.binding import bind
    from events.telemetry import logs

    # No access log: a person reads this terminal.
    logs.configure(settings.events_log_format, "warning")

    def exit_now(number: int) -> None:
        stack.close()
        process.exit_now(number)

    app = process.Drained(
        create_app(settings),
        on_ready=lambda: say(_welcome(port)),
        on_second_signal=exit_now,
    )
    if not process.serve(app, bind("127.0.0.1", port)):
        raise RunError("could not start the API, see above")


def _welcome(port: int) -> str:
    base = f"http://localhost:{port}"
    # A command that works as it is: the virtual environment of `make run` is not active.
    program = Path(sys.executable)
    is_here = program.is_relative_to(Path.cwd())
    python = program.relative_to(Path.cwd()) if is_here else "python"
    option = "" if port == 8800 else f" --url {base}"
    buckets = f"{base}/events/customers/{_SAMPLE_CUSTOMER}/buckets"
    return f"""
The API is ready at {base}. Open {base}/ in a browser, or try:

  curl '{buckets}?start=2021-03-01T00:00:00Z&end=2021-03-02T00:00:00Z'
  curl '{buckets}?start=2021-03-01&end=2021-04-01&format=csv'
  curl '{base}/events/customers'
  curl {base}/events -H 'Content-Type: application/json' -d '{{"events": [{{"customer_id": "acme",
    "event_type": "page_view", "transaction_id": "t-1", "timestamp": "2026-11-24T10:00:05Z"}}]}}'
  {python} sample_api_requests.py{option}
  {python} -m events verify

The API is described at {base}/openapi.json. Ctrl-C stops everything; the data is kept.
"""
