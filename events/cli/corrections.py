"""`python -m events void` and `erase`: stored events taken out of the counts, customers erased."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from events.bootstrap import (
    load_settings,
    make_key_store,
)
from events.cli import EXIT_DIFFERENT, EXIT_OK, Commands, counted, say
from events.cli.output import write_result
from events.cli.service import opened_service
from events.config import INGEST_PATIENCE_SECONDS
from events.domain.parsing import check_customer_id, check_void_reason
from events.errors import EventsError, InvalidEvent, InvalidInput
from events.ingest.csvrows import Numbered, Rejection, read_records
from events.ingest.load import RejectsFile
from events.ingest.source import open_lines
from events.models import Outcome

_ROWS_AT_A_TIME = 1_000
_EVENTS_A_STEP = 10_000
_REJECTIONS_SHOWN = 5


def add_to(commands: Commands) -> None:
    void = commands.add_parser(
        "void",
        help="take events of a file out of the counts",
        description="Take the events of a CSV file (as for ingest_events_from_file.py) out of the "
        "counts, each in one transaction with its counters. They stay stored with the reason, so "
        "that a late retry does not bring them back. Running it again is safe.",
        epilog="Exit code: 0 none of the events is counted, 1 the same but some rows were rejected "
        "or are not stored, 2 the run could not start or not finish.",
    )
    void.set_defaults(command=_void, is_service=False)
    void.add_argument("file", metavar="FILE", help="CSV; gzip is recognised; - is standard input")
    void.add_argument("--reason", required=True, metavar="TEXT", help="kept with each event")
    void.add_argument("--json", action="store_true", help="print one JSON object")

    erase = commands.add_parser(
        "erase",
        help="erase all that is stored of a customer",
        description="Erase a customer from all tables: events, voided ones too, counts, the list "
        "of customers, API keys bound to it. First stop those who send its events. It takes at "
        "least 40 seconds, and goes on where it stopped when it is run again.",
        epilog="Exit code: 0 nothing is left, 2 something may be: run it again.",
    )
    erase.set_defaults(command=_erase, is_service=False)
    erase.add_argument("customer", metavar="CUSTOMER", help="its id")
    erase.add_argument("--yes", action="store_true", help="do not ask")


# --- void -----------------------------------------------------------------------------------------


def _void(options: argparse.Namespace) -> int:
    try:
        reason = check_void_reason(options.reason)
    except InvalidEvent as exc:
        raise InvalidInput(f"--reason {exc.reason}") from exc
    name = "stdin" if options.file == "-" else options.file
    tally: Counter[Outcome] = Counter()
    with ExitStack() as opened:
        source = opened.enter_context(open_lines(options.file))
        service = opened.enter_context(opened_service())
        rejects = opened.enter_context(RejectsFile(Path(f"{name}.rejects.csv"), options.file))
        records = read_records(source)
        try:
            while chunk := list(islice(records, _ROWS_AT_A_TIME)):
                events = [event for _, event in _kept(chunk, rejects)]
                tally.update(service.void(events, reason=reason))
        except EventsError as exc:
            done = counted(tally[Outcome.VOIDED], "event")
            raise InvalidInput(f"{exc}. {done} voided before; run again to go on") from exc
    _print_tally(options, tally, rejects)
    return EXIT_DIFFERENT if rejects.count or tally[Outcome.NOT_FOUND] else EXIT_OK


def _kept(chunk: Iterable[Numbered | Rejection], rejects: RejectsFile) -> Iterator[Numbered]:
    for record in chunk:
        if not isinstance(record, Rejection):
            yield record
            continue
        rejects.add(record)
        if rejects.count <= _REJECTIONS_SHOWN:
            say(f"rejected line {record.line:,}: {record.reason}")
        elif rejects.count == _REJECTIONS_SHOWN + 1:
            say(f"rejected more lines: all are in {rejects.path}")


def _print_tally(
    options: argparse.Namespace, tally: Counter[Outcome], rejects: RejectsFile
) -> None:
    numbers = {
        **{
            outcome.value: tally[outcome]
            for outcome in (Outcome.VOIDED, Outcome.ALREADY_VOIDED, Outcome.NOT_FOUND)
        },
        "rejected": rejects.count,
    }
    if options.json:
        path = str(rejects.path) if rejects.count else None
        write_result(json.dumps({"file": options.file, **numbers, "rejects_file": path}))
        return
    lines = [
        f"{'standard input' if options.file == '-' else options.file}: "
        f"{counted(sum(numbers.values()), 'row')} read",
        *(f"  {name.replace('_', ' '):<15}{number:>13,}" for name, number in numbers.items()),
    ]
    if rejects.count:
        lines.append(f"  rejected rows with line and reason: {rejects.path}")
    write_result("\n".join(lines))


# --- erase ----------------------------------------------------------------------------------------


def _erase(options: argparse.Namespace) -> int:
    customer_id = check_customer_id(options.customer)
    if not options.yes:
        _ask(customer_id)
    settings = load_settings()
    erased = 0
    has_said = False
    with opened_service() as service:
        while True:
            step = service.erase(customer_id, max_events=_EVENTS_A_STEP)
            erased += step.events
            if step.is_complete:
                break
            if step.events:
                say(f"{counted(erased, 'event')} erased")
            elif step.wait_seconds and not has_said:
                has_said = True
                say(
                    f"waiting {step.wait_seconds:.0f} s, in which every process that takes events "
                    "in learns of it"
                )
            time.sleep(min(step.wait_seconds, 5.0))
    keys = make_key_store(settings, patience_seconds=INGEST_PATIENCE_SECONDS)
    try:
        keys.forget(customer_id)
    finally:
        keys.close()
    write_result(f"customer {customer_id}: {counted(erased, 'event')} erased, nothing is left")
    return EXIT_OK


def _ask(customer_id: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("erase cannot be undone: add --yes")
    say(f"All that is stored of the customer {customer_id!r} will be gone, for ever.")
    sys.stderr.write("Type its id to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().rstrip("\n") != customer_id:
        raise InvalidInput("nothing was erased")
