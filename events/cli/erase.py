"""`python -m events erase`: delete everything that is stored about a customer."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import Annotated

from typer import Option

from events.cli import EXIT_OK, command, counted, say
from events.cli.options import Customer
from events.cli.output import write_result
from events.domain.parsing import check_customer_id
from events.errors import InvalidInput

_EVENTS_PER_STEP = 10_000
_LONGEST_SLEEP_SECONDS = 5.0
Yes = Annotated[bool, Option("--yes", help="Do not ask for confirmation.")]


@command()
def erase(customer: Customer, yes: Yes = False) -> int:
    """
    Delete everything that is stored about a customer.

    This deletes the customer's events (also voided ones), counters, change log entries, entry in
    the list of customers, and API keys. First stop the programs that send the customer's events.
    The command takes at least 40 seconds; if it is stopped, run it again to continue.

    Exit code: 0 nothing is left; 2 something may be left: run it again.
    """
    from events.bootstrap import load_settings, make_key_store
    from events.cli.service import open_service
    from events.config import INGEST_PATIENCE_SECONDS

    customer_id = check_customer_id(customer)
    if not yes:
        _confirm(customer_id)
    erased = 0
    is_waiting = False
    with open_service() as service:
        while True:
            step = service.erase(customer_id, max_events=_EVENTS_PER_STEP)
            erased += step.events
            if step.is_complete:
                break
            if step.events:
                say(f"{counted(erased, 'event')} erased")
            elif step.wait_seconds and not is_waiting:
                is_waiting = True
                say(
                    f"waiting {step.wait_seconds:.0f} s until every process that writes events "
                    "knows about the erasure"
                )
            time.sleep(min(step.wait_seconds, _LONGEST_SLEEP_SECONDS))
    store = make_key_store(load_settings(), patience_seconds=INGEST_PATIENCE_SECONDS)
    with closing(store) as keys:
        keys.forget(customer_id)
    write_result(f"customer {customer_id}: {counted(erased, 'event')} erased, nothing is left")
    return EXIT_OK


def _confirm(customer_id: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("erasing cannot be undone: confirm with --yes")
    say(f"This deletes everything stored about the customer {customer_id!r}, forever.")
    sys.stderr.write("Type the customer's id to continue: ")
    sys.stderr.flush()
    if sys.stdin.readline().rstrip("\n") != customer_id:
        raise InvalidInput("the id does not match; nothing was erased")
