"""The commands: `python -m examples.forecast update | anomalies | forecast | backtest`."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import urlencode

from pyiceberg.catalog import Catalog

from events.archive.catalog import open_catalog
from events.bootstrap import load_settings
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp, parse_instant
from events.errors import EventsError, InvalidInput
from examples import shown
from examples.forecast.tables import (
    ANOMALIES,
    COLUMNS,
    USAGE,
    open_table,
    replace_anomalies,
    versions,
)
from examples.forecast.update import update

EXIT_OK, EXIT_NOT_RUN = 0, 2
_ONCE_IN = 100_000
_MAX_NUMBER = 1_000_000_000
_DAY = timedelta(days=1)
#: Maximum marks per link, and maximum characters per mark, which the dashboard accepts.
_MAX_MARKS, _MAX_MARK = 50, 320
#: Maximum characters of all marks in a link: many proxies refuse addresses of 8,192.
_MAX_QUERY = 6_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        name, folder = settings.iceberg_catalog_name, settings.iceberg_folder
        with closing(open_catalog(name, folder)) as catalog:
            options.command(catalog, options)
    except KeyboardInterrupt:
        _say("stopped")
        return EXIT_NOT_RUN
    except EventsError as exc:
        _say(f"error: {exc}")
        return EXIT_NOT_RUN
    except Exception:  # noqa: BLE001 - Python would exit with 1
        traceback.print_exc()
        return EXIT_NOT_RUN
    return EXIT_OK


def _update(catalog: Catalog, options: argparse.Namespace) -> None:
    result = update(catalog)
    if options.json:
        _print_json(asdict(result))
    elif not result.days:
        print("nothing new in the archive")
    else:
        days = "all days" if result.is_complete else f"{result.days:,} days"
        print(f"{result.rows:,} rows written for {days}")


def _anomalies(catalog: Catalog, options: argparse.Namespace) -> None:
    from examples.forecast.anomalies import anomalies
    from examples.forecast.known import as_known

    if options.page and options.json:
        raise InvalidInput("--page and --json cannot be used together")
    customer_id = options.customer
    if customer_id is not None:
        check_customer_id(customer_id)
    # The model learns from all customers.
    found = anomalies(
        as_known(versions(open_table(catalog, USAGE, may_create=False))), once_in=options.once_in
    )
    if customer_id is not None:
        found = found[found.customer_id == customer_id]
    rows = found[list(COLUMNS[ANOMALIES])].to_dict("records")
    replace_anomalies(
        open_table(catalog, ANOMALIES), (tuple(row.values()) for row in rows), customer_id
    )
    for row in rows:
        if options.json:
            _print_json(row)
        else:
            names = "  ".join(shown(row[name]) for name in ("customer_id", "event_type"))
            print(f"{names}  {row['hour']:%Y-%m-%d %H:%M}  {row['reason']}")
    for link in _links(options.page, rows) if options.page else ():
        print(link)
    number = "1 anomaly" if len(rows) == 1 else f"{len(rows):,} anomalies"
    _say(f"{number}, in the table forecast.{ANOMALIES}")


def _links(page: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A link for each customer to the dashboard, where its newest anomalies are marked."""
    for customer_id, of_customer in groupby(
        sorted(rows, key=lambda row: (row["customer_id"], row["hour"])), itemgetter("customer_id")
    ):
        newest = list(of_customer)[-_MAX_MARKS:]
        marks = [
            f"{row['hour']:%Y-%m-%dT%H:%M:%SZ} {row['event_type']}: {row['reason']}"[:_MAX_MARK]
            for row in newest
        ]
        while len(newest) > 1 and len(urlencode({"mark": marks}, doseq=True)) > _MAX_QUERY:
            del newest[0], marks[0]
        query = {
            "customer": customer_id,
            "start": f"{newest[0]['hour'] - _DAY:%Y-%m-%d}",
            "end": f"{newest[-1]['hour'] + 2 * _DAY:%Y-%m-%d}",
            "mark": marks,
        }
        yield f"{page.rstrip('/')}/?{urlencode(query, doseq=True)}"


def _forecast(catalog: Catalog, options: argparse.Namespace) -> None:
    from examples.forecast.known import as_known
    from examples.forecast.monthly import forecast

    customer_id = check_customer_id(options.customer)
    at = None if options.at is None else parse_instant(options.at, "--at")
    table = open_table(catalog, USAGE, may_create=False)
    month = forecast(as_known(versions(table), at, with_late=options.with_late), customer_id)
    if options.json:
        _print_json(asdict(month))
        return
    print(f"Usage of {shown(customer_id)} in {month.month} (UTC)")
    print(f"counted until {month.until:%Y-%m-%d %H:%M}  {month.counted:12,}")
    print(f"expected in the month           {month.expected:12,}")
    print(f"80 % interval                   {month.low:12,} to {month.high:,}")
    print(f"seasonal-naive                  {month.seasonal_naive:12,}")


def _backtest(catalog: Catalog, options: argparse.Namespace) -> None:
    from examples.forecast.backtest import as_text, backtest

    table = open_table(catalog, USAGE, may_create=False)
    result = backtest(versions(table), times=options.times, with_late=options.with_late)
    if options.json:
        _print_json(asdict(result))
    else:
        print(as_text(result))


def _print_json(value: Mapping[str, object]) -> None:
    print(json.dumps(value, default=_json_of))


def _json_of(value: object) -> object:
    return format_timestamp(value) if isinstance(value, datetime) else int(str(value))


def _say(text: str) -> None:
    """Print to standard error; standard output is for results."""
    sys.stderr.write(f"{text}\n")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MAX_NUMBER:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number from 1 to {_MAX_NUMBER:,}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.forecast",
        description="Features, anomalies and forecasts of usage, from the archive that "
        "`python -m events archive` writes. EVENTS_ICEBERG_CATALOG is its catalog.",
        epilog="Exit code: 0 all well, 2 could not run.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    updating = commands.add_parser("update", help="bring the feature table up to date")
    updating.set_defaults(command=_update)

    finding = commands.add_parser("anomalies", help="list hours with unexpected usage")
    finding.set_defaults(command=_anomalies)
    finding.add_argument("customer", nargs="?", metavar="CUSTOMER", help="all by default")
    finding.add_argument(
        "--page",
        metavar="URL",
        help="also print links to the dashboard at this URL, with the hours marked",
    )
    finding.add_argument(
        "--once-in",
        type=_number,
        default=_ONCE_IN,
        metavar="HOURS",
        help="list counts that are expected less than once in so many hours (%(default)s)",
    )

    expecting = commands.add_parser("forecast", help="forecast a customer's usage of the month")
    expecting.set_defaults(command=_forecast)
    expecting.add_argument("customer", metavar="CUSTOMER")
    expecting.add_argument(
        "--at",
        metavar="TIME",
        help="forecast at this time, with what was known then",
    )

    comparing = commands.add_parser("backtest", help="compare the forecast with seasonal-naive")
    comparing.set_defaults(command=_backtest)
    comparing.add_argument(
        "--times", type=_number, default=8, help="past forecasts, one a week (%(default)s)"
    )
    for command in (expecting, comparing):
        command.add_argument(
            "--with-late",
            action="store_true",
            help="also use events that became known later, as in an archive that was filled later",
        )
    for command in (updating, finding, expecting, comparing):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser
