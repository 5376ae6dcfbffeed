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
from events.kafka.clients import Cluster
from examples import shown
from examples.billing.api import Api
from examples.billing.consumer import Biller
from examples.billing.invoices import as_text, check_month, invoice
from examples.billing.ledger import BadMessage, Ledger
from examples.billing.prices import read_prices
from examples.billing.reconcile import reconcile

EXIT_OK, EXIT_DIFFERENT, EXIT_NOT_RUN = 0, 1, 2
_PRICES = Path(__file__).with_name("prices.toml")
#: Both may hold a secret, and other users of the machine can read arguments.
_DATABASE_VARIABLE, _KEY_VARIABLE = "BILLING_DATABASE_URL", "BILLING_API_KEY"
_DATABASE = "sqlite:///billing.sqlite"
#: SQLite takes at most 32,766 values in a statement; ours has up to four per message.
_MAX_BATCH = 5_000


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
    except Exception:  # noqa: BLE001 - Python would exit with 1, which means "different"
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

        def report(bad: BadMessage) -> None:
            _say(f"invalid message: partition {bad.partition}, offset {bad.offset}: {bad.reason}")

        biller = Biller(
            cluster=Cluster.of(settings),
            topic=settings.events_kafka_topic,
            ledger=ledger,
            group=options.group,
            member=options.member,
            batch_size=options.batch_size,
            on_bad=report,
        )
        try:
            biller.run(is_until_end=options.until_end)
        finally:
            totals = biller.totals
            print(
                f"{totals.messages:,} messages: {totals.billed:,} billed, {totals.repeated:,} "
                f"repeated, {totals.bad:,} invalid",
                flush=True,
            )
    return EXIT_OK


def _reconcile(options: argparse.Namespace) -> int:
    api = Api(options.url, key=os.environ.get(_KEY_VARIABLE, ""))
    with _ledger() as ledger:
        result = reconcile(
            ledger,
            api,
            before=None if options.before is None else format_timestamp(options.before),
            patience_seconds=options.patience,
            is_taking_voided=options.take_voided,
        )
    for one in result.differences:
        customer_id, hour, event_type = map(shown, one.key)
        print(f"{customer_id}  {hour}  {event_type}  billed {one.billed}, counted {one.counted}")
    print(
        f"{result.customers:,} customers, {result.hours:,} hours, {result.units:,} units billed: "
        + (f"{len(result.differences):,} differences" if result.differences else "all equal")
    )
    return EXIT_DIFFERENT if result.differences else EXIT_OK


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
    """Print to standard error; standard output is for results."""
    sys.stderr.write(f"{text}\n")


def _batch_size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MAX_BATCH:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number from 1 to {_MAX_BATCH:,}")
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
        raise argparse.ArgumentTypeError(f"{text!r}: use a number of seconds, 0 or more")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.billing",
        description="Bill events by usage, exactly. BILLING_DATABASE_URL is the SQL database "
        f"(default: {_DATABASE}); the Kafka settings are those of `python -m events`.",
        epilog="Exit code: 0 all well, 1 bill and API differ, 2 could not run.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="bill the messages of the topic, continuously")
    run.set_defaults(command=_run, is_service=True)
    run.add_argument("--until-end", action="store_true", help="stop at the topic's present end")
    run.add_argument(
        "--from-start",
        action="store_true",
        help="read the topic from its start again; bills nothing twice",
    )
    run.add_argument("--group", default="events-billing", help="consumer group (%(default)s)")
    run.add_argument(
        "--member",
        default="billing-1",
        help="name of this process in the group; must be unique (%(default)s)",
    )
    run.add_argument(
        "--batch-size",
        type=_batch_size,
        default=1_000,
        metavar="N",
        help="maximum messages per SQL transaction (%(default)s)",
    )

    compare = commands.add_parser("reconcile", help="compare the bill with the API")
    compare.set_defaults(command=_reconcile, is_service=False)
    compare.add_argument("--url", default="http://localhost:8800", help="its URL (%(default)s)")
    compare.add_argument(
        "--patience",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long to compare again while there are differences (%(default)g)",
    )
    compare.add_argument(
        "--before",
        type=_instant,
        metavar="TIME",
        help="only hours that start before this; the present hour may differ for a moment",
    )
    compare.add_argument(
        "--take-voided",
        action="store_true",
        help="remove voided events from the bill",
    )

    bill = commands.add_parser("invoice", help="print a customer's invoice for a UTC month")
    bill.set_defaults(command=_invoice, is_service=False)
    bill.add_argument("customer", metavar="CUSTOMER")
    bill.add_argument("month", metavar="MONTH", help="such as 2021-03")
    bill.add_argument(
        "--prices",
        type=Path,
        default=_PRICES,
        metavar="FILE",
        help="price table (prices.toml)",
    )
    return parser
