"""`python -m events shards`: plan over how many shards a busy customer's days are spread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from events.cli import EXIT_OK, command, make_app, printable
from events.cli.options import Customer, Json
from events.cli.output import table_text, write_json, write_result
from events.domain.parsing import check_customer_id
from events.errors import InvalidInput
from events.models import MAX_SHARDS

if TYPE_CHECKING:
    from events.dynamodb.plans import Plan, Plans

_NUMBERS = [2**power for power in range(MAX_SHARDS.bit_length())]
Shards = Annotated[int, Option(help=f"Number of shards: {', '.join(map(str, _NUMBERS))}.")]
From = Annotated[
    str | None, Option("--from", metavar="DAY", help="First UTC day (default: tomorrow).")
]
Pin = Annotated[bool, Option("--pin", help="Do not change this plan automatically.")]
AnyCustomer = Annotated[str | None, Argument(metavar="CUSTOMER", help="Default: all with a plan.")]

app = make_app("""
    Spread the days of a busy customer over several partition keys of DynamoDB.

    A shard takes about 500 events a second. A day that has events keeps the number of shards that
    it has, so a plan is for days without events.

    Exit code: 0 done; 2 not done.
    """)


@app.command("set")
@command()
def set_(customer: Customer, shards: Shards, from_day: From = None, pin: Pin = False) -> int:
    """
    Plan the number of shards of a customer's days, from one day on.

    Processes that write learn of a plan within a minute.
    """
    from events.domain.timestamps import day_of, utc_now

    customer_id = check_customer_id(customer)
    if shards not in _NUMBERS:
        raise InvalidInput(f"--shards {shards}: use {', '.join(map(str, _NUMBERS))}")
    day = day_of(utc_now() + timedelta(days=1)) if from_day is None else _checked_day(from_day)
    with _open_plans() as plans:
        plan = plans.change(customer_id, lambda plan: plan.with_shards(shards, day, is_pinned=pin))
    write_result(_table([plan]))
    return EXIT_OK


@app.command()
@command()
def show(customer: AnyCustomer = None, json: Json = False) -> int:
    """Show the plan of one customer, or all plans."""
    with _open_plans() as plans:
        found = plans.all() if customer is None else [plans.get(check_customer_id(customer))]
    if json:
        write_json(
            [
                {
                    "customer_id": plan.customer_id,
                    "shards_from": dict(sorted(plan.days.items())),
                    "is_pinned": plan.is_pinned,
                }
                for plan in found
            ]
        )
    elif any(plan.days for plan in found):
        write_result(_table(found))
    else:
        write_result("no plan: every day has one shard")
    return EXIT_OK


def _table(plans: list[Plan]) -> str:
    rows = [
        (printable(plan.customer_id), day, str(number), "yes" if plan.is_pinned else "no")
        for plan in plans
        for day, number in sorted(plan.days.items())
    ]
    return table_text([("CUSTOMER", "FROM DAY", "SHARDS", "PINNED"), *rows])


def _checked_day(text: str) -> str:
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as exc:
        raise InvalidInput(f"--from {text!r}: use a day such as 2026-12-01") from exc


@contextmanager
def _open_plans() -> Iterator[Plans]:
    from events.bootstrap import SECONDS_TO_FIND_THE_STORE, load_settings, make_store

    settings = load_settings()
    if settings.events_database_url:
        raise InvalidInput("SQL databases have no shards: leave EVENTS_DATABASE_URL empty")
    store = make_store(settings, patience_seconds=SECONDS_TO_FIND_THE_STORE, may_make_tables=False)
    with closing(store):
        yield store.plans
