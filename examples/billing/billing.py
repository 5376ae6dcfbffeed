"""The commands: `python -m examples.billing run | reconcile | invoice`."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from events.bootstrap import load_settings
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp, parse_instant
from events.errors import EventsError, InvalidWindow
from examples.billing.buckets import Api
from examples.billing.consuming import Biller
from examples.billing.invoices import as_text, check_month, invoice, shown
from examples.billing.ledger import BadMessage, Ledger
from examples.billing.prices import read_prices
from examples.billing.reconciling import reconcile

EXIT_OK, EXIT_DIFFERENT, EXIT_NOT_RUN = 0, 1, 2
_PRICES = Path(__file__).with_name("prices.toml")
#: Both may hold a secret, so neither is an argument that others on the machine can read.
_DATABASE_VARIABLE, _KEY_VARIABLE = "BILLING_DATABASE_URL", "BILLING_API_KEY"
_DATABASE = "sqlite:///billing.sqlite"
#: A statement of SQLite's holds at most 32,766 values, and ours four for a message.
_MOST_IN_A_BATCH = 5_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        code: int = options.command(options)
    except KeyboardInterrupt:
        _say("stopped")
        return EXIT_OK if options.is_service else EXIT_NOT_RUN
    except EventsError as exc:
        _say(f"error: {exc}")
        return EXIT_NOT_RUN
    except Exception:  # noqa: BLE001 - a mistake of ours; 1 would say that something differs
        traceback.print_exc()
        return EXIT_NOT_RUN
    return code


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    settings = load_settings()
    with _ledger() as ledger:
        if options.from_start:
            ledger.forget_offsets(settings.events_kafka_topic)

        def say_bad(bad: BadMessage) -> None:
            _say(f"no event: partition {bad.partition}, offset {bad.offset}: {bad.reason}")

        biller = Biller(
            settings, ledger, options.group, options.member, options.batch_size, say_bad
        )
        try:
            biller.run(is_until_end=options.until_end)
        finally:
            totals = biller.totals
            print(
                f"{totals.messages:,} messages: {totals.billed:,} billed, {totals.repeated:,} "
                f"repeated, {totals.bad:,} that are no events",
                flush=True,
            )
    return EXIT_OK


def _reconcile(options: argparse.Namespace) -> int:
    api = Api(options.url, key=os.environ.get(_KEY_VARIABLE, ""))
    with _ledger() as ledger:
        found = reconcile(
            ledger,
            api,
            before=None if options.before is None else format_timestamp(options.before),
            patience_seconds=options.patience,
            is_taking_voided=options.take_voided,
        )
    for each in found.differences:
        customer_id, hour, event_type = map(shown, each.place)
        print(f"{customer_id}  {hour}  {event_type}  billed {each.billed}, counted {each.counted}")
    print(
        f"{found.customers:,} customers, {found.hours:,} hours, {found.units:,} units billed: "
        + (f"{len(found.differences):,} differences" if found.differences else "equal to the unit")
    )
    return EXIT_DIFFERENT if found.differences else EXIT_OK


def _invoice(options: argparse.Namespace) -> int:
    customer_id, month = check_customer_id(options.customer), check_month(options.month)
    prices = read_prices(options.prices)
    with _ledger() as ledger:
        units = ledger.month(customer_id, month)
    print(as_text(invoice(customer_id, month, units, prices)))
    return EXIT_OK


@contextmanager
def _ledger() -> Iterator[Ledger]:
    ledger = Ledger(os.environ.get(_DATABASE_VARIABLE, _DATABASE))
    try:
        ledger.create_tables()
        yield ledger
    finally:
        ledger.close()


def _say(text: str) -> None:
    """Tell whoever sits at the terminal; standard output is for results."""
    sys.stderr.write(f"{text}\n")


def _batch_size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_IN_A_BATCH:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1 to {_MOST_IN_A_BATCH:,}")
    return int(text)


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text, "--before")
    except InvalidWindow as exc:
        raise argparse.ArgumentTypeError(exc.reason) from exc


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number of seconds from 0 on")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.billing",
        description="Bill events by usage, exactly. The SQL database is BILLING_DATABASE_URL "
        f"(default: {_DATABASE}); Kafka is that of the settings of `events`.",
        epilog="Exit code: 0 all well, 1 bill and buckets differ, 2 it could not run.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="bill what is on the bus, and what comes")
    run.set_defaults(command=_run, is_service=True)
    run.add_argument("--until-end", action="store_true", help="end when all that is there is read")
    run.add_argument(
        "--from-start",
        action="store_true",
        help="read the topic from its start again; nothing is billed twice",
    )
    run.add_argument("--group", default="events-billing", help="consumer group (%(default)s)")
    run.add_argument(
        "--member",
        default="billing-1",
        help="of this process in the group; each needs its own (%(default)s)",
    )
    run.add_argument(
        "--batch-size",
        type=_batch_size,
        default=1_000,
        metavar="N",
        help="messages in one SQL transaction (%(default)s)",
    )

    compare = commands.add_parser("reconcile", help="compare the bill with the buckets")
    compare.set_defaults(command=_reconcile, is_service=False)
    compare.add_argument("--url", default="http://localhost:8800", help="of the API (%(default)s)")
    compare.add_argument(
        "--patience",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="look again for so long at what differs (%(default)g)",
    )
    compare.add_argument(
        "--before",
        type=_instant,
        metavar="TIME",
        help="only hours that begin before this; those of now may differ for a moment",
    )
    compare.add_argument(
        "--take-voided",
        action="store_true",
        help="take events that were voided out of the bill",
    )

    bill = commands.add_parser("invoice", help="a customer's invoice for a month of UTC")
    bill.set_defaults(command=_invoice, is_service=False)
    bill.add_argument("customer", metavar="CUSTOMER")
    bill.add_argument("month", metavar="MONTH", help="such as 2021-03")
    bill.add_argument(
        "--prices", type=Path, default=_PRICES, metavar="FILE", help="the table (prices.toml)"
    )
    return parser
