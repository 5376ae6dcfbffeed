"""`python -m events serve`: serve the API."""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated

from typer import Option

from events.cli import EXIT_NOT_RUN, EXIT_OK, command
from events.cli.options import Host, Port

log = logging.getLogger(__name__)

Workers = Annotated[int, Option(min=1, max=64, help="Processes.")]
Drain = Annotated[
    float,
    Option(
        min=0,
        max=300,
        metavar="SECONDS",
        help="After SIGTERM, keep serving this long while /readyz answers 503, so that load "
        "balancers that poll it stop sending requests.",
    ),
]


@command(exit_when_stopped=EXIT_OK)
def serve(
    host: Host = "127.0.0.1", port: Port = 8800, workers: Workers = 1, drain: Drain = 0.0
) -> int:
    """
    Serve the API until SIGTERM or Ctrl-C.

    Requests in flight are finished first. A second signal ends the process at once.

    Exit code: 0 stopped; 2 could not run; 130 or 143 ended by a second signal.
    """
    from events.app import create_app
    from events.bootstrap import check_store_settings
    from events.cli.service import start_logging
    from events.server import binding, process

    settings = start_logging()
    binding.check_host(host, has_keys=settings.are_api_keys_on)
    # Report a wrong configuration now and once, not from each process.
    check_store_settings(settings)
    log.setLevel(logging.INFO)  # always log the address: a supervisor may wait for this line
    sockets = binding.bind(host, port)
    on_ready = partial(log.info, process.welcome(sockets))
    if workers > 1:
        is_started = process.serve_with_workers(
            create_app, settings, sockets, workers=workers, drain_seconds=drain, on_ready=on_ready
        )
    else:
        app = process.Drained(create_app(settings), drain_seconds=drain, on_ready=on_ready)
        is_started = process.serve(app, sockets)
    return EXIT_OK if is_started else EXIT_NOT_RUN
