"""`python -m events serve`: the API, for as long as it is wanted."""

from __future__ import annotations

import argparse
import logging

from events.bootstrap import load_settings, make_client
from events.cli import EXIT_NOT_RUN, EXIT_OK, Commands, port
from events.telemetry import logs

log = logging.getLogger(__name__)


def add_to(commands: Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="the API",
        description="Serve the API until SIGTERM or Ctrl-C; what is under way then is finished. A "
        "second signal ends it at once.",
        epilog="Exit code: 0 it ended when it was told to, 2 it could not run, 130 or 143 it was "
        "ended by a second signal.",
    )
    serve.set_defaults(command=_serve, is_service=True)
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; others than this machine's own need EVENTS_API_KEYS=on "
        "(default: 127.0.0.1)",
    )
    serve.add_argument("--port", type=port, default=8800, help="default: 8800")
    serve.add_argument("--workers", type=_workers, default=1, help="processes (default: 1)")
    serve.add_argument(
        "--drain",
        type=_drain,
        default=0.0,
        metavar="SECONDS",
        help="after SIGTERM, keep serving this long while /readyz answers 503, so that load "
        "balancers polling it stop sending requests; 0 to 300 (default: 0)",
    )


def _serve(options: argparse.Namespace) -> int:
    # Here, because other commands need no server.
    from events.app import create_app
    from events.server import binding, process, workers

    settings = load_settings()
    binding.check_host(options.host, settings)
    # What is wrong with the AWS configuration is said now, not by each process.
    make_client(settings).close()
    logs.configure(settings.events_log_format, settings.events_log_level)
    # Said at every level: somebody may wait for it.
    log.setLevel(logging.INFO)
    sockets = binding.bind(options.host, options.port)
    welcome = process.welcome(sockets)

    def on_ready() -> None:
        log.info(welcome)

    if options.workers > 1:
        workers.run(
            create_app,
            settings,
            sockets,
            options.workers,
            on_ready,
            drain_seconds=options.drain,
        )
        return EXIT_OK
    server = process.Server(create_app(settings), drain_seconds=options.drain, on_ready=on_ready)
    server.run(sockets)
    return EXIT_OK if server.started else EXIT_NOT_RUN


def _drain(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 300:
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds from 0 to 300")
    return seconds


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1 to 64")
    return int(text)
