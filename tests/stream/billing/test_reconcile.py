"""`examples.billing reconcile` and `invoice`: the bill equals the API, to the unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.config import Settings
from events.service import EventService
from examples.billing.ledger import Batch, Ledger
from tests.stream.billing.conftest import (
    BILLING,
    DATABASE,
    INVALID,
    billed,
    change,
    counted,
    kill_when_billed,
    on_both,
    repeated,
    send,
    summary,
    until_end,
)
from tests.support.factories import HOUR, HOUR_ZERO, event, many_events, time_text
from tests.support.shell import Shell


def test_bill_and_api_are_equal_after_kills_and_a_replay(
    shell: Shell, settings: Settings, service: EventService, url: str
) -> None:
    events = [
        *many_events(600, customers=6, event_types=3, hours=50),
        event("t-late", customer_id="ünï/../cödé %2F", timestamp=HOUR_ZERO - 9_000 * HOUR),
    ]
    sent = repeated(events, seed=5)
    send(settings, sent, others=INVALID)
    service.ingest(sent)
    command = shell.start(*until_end(settings), "--batch-size", "10")
    kill_when_billed(shell, command, units=50)
    assert shell.call(*until_end(settings)).code == 0
    assert shell.call(*until_end(settings), "--from-start").code == 0

    ran = shell.call(*BILLING, "reconcile", "--url", url)

    hours = len({key[:2] for key in counted(events)})
    assert (ran.code, ran.out) == (
        0,
        f"7 customers, {hours} hours, 601 units billed: all equal\n",
    )
    assert billed(shell) == counted(events)


def test_differences_on_either_side_are_reported(
    shell: Shell, settings: Settings, service: EventService, url: str
) -> None:
    both = [event(f"t-{number}") for number in range(5)]
    send(settings, [*both, event("t-5", customer_id="billed only")])
    service.ingest([*both, event("t-6", customer_id="counted only", event_type="click")])
    assert shell.call(*until_end(settings)).code == 0
    change(shell, "UPDATE billing_usage SET units = units + 1 WHERE customer_id = 'acme'")

    ran = shell.call(*BILLING, "reconcile", "--url", url)
    before = shell.call(
        *BILLING, "reconcile", "--url", url, "--before", time_text(HOUR_ZERO), "--patience", "0"
    )

    hour = "2021-03-01T00:00:00.000000Z"
    assert (before.code, before.out) == (
        0,
        "3 customers, 0 hours, 0 units billed: all equal\n",
    )
    assert (ran.code, ran.out.splitlines()) == (
        1,
        [
            f"acme  {hour}  api_call  billed 6, counted 5",
            f"billed only  {hour}  api_call  billed 1, counted 0",
            f"counted only  {hour}  click  billed 0, counted 1",
            "3 customers, 3 hours, 7 units billed: 3 differences",
        ],
    )


def test_reconcile_waits_for_a_bill_that_lags_behind(
    shell: Shell, settings: Settings, service: EventService, url: str
) -> None:
    events = many_events(50)
    service.ingest(events)
    command = shell.start(*BILLING, "reconcile", "--url", url, "--patience", "60")
    send(settings, events)
    assert shell.call(*until_end(settings)).code == 0
    assert command.ended().code == 0


@on_both
def test_voided_events_differ_until_they_are_removed_from_the_bill(
    shell: Shell, settings: Settings, service: EventService, url: str
) -> None:
    events = [event(f"t-{number}") for number in range(4)]
    service.ingest(events)
    service.void(events[:2], reason="test traffic")
    send(settings, events[1:])
    assert shell.call(*until_end(settings)).code == 0

    before = shell.call(*BILLING, "reconcile", "--url", url)
    taken = shell.call(*BILLING, "reconcile", "--url", url, "--take-voided")
    # One message was voided before it was ever billed, the other was billed before.
    send(settings, events[:2])
    late = shell.call(*until_end(settings))
    after = shell.call(*BILLING, "reconcile", "--url", url)

    hour = "2021-03-01T00:00:00.000000Z"
    assert before.out.splitlines()[0] == f"acme  {hour}  api_call  billed 3, counted 2"
    assert (before.code, taken.code, after.code) == (1, 0, 0)
    assert late.out == summary(messages=2, billed=0, repeated=2)
    assert billed(shell) == counted(events[2:])


@on_both
def test_an_hour_with_more_voids_than_an_sql_statement_takes(
    bill_url: str,
) -> None:
    # Two values per event: 66,000, where PostgreSQL's drivers allow 65,535 in a statement.
    events = many_events(33_000, customers=1, event_types=1, hours=1)
    ledger = Ledger(bill_url)
    ledger.create_tables()
    ledger.record(Batch("events", events[:5_000], [], {0: 5_000}))
    assert ledger.void(events) == 5_000
    assert ledger.units(events[0].customer_id) == {}
    # Events that were voided before they were billed.
    assert ledger.record(Batch("events", events[-5_000:], [], {0: 33_000})) == 0
    ledger.close()


def test_an_api_that_does_not_answer_is_an_error(shell: Shell) -> None:
    ran = shell.call(*BILLING, "reconcile", "--url", "http://127.0.0.1:1")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: the API at http://127.0.0.1:1 does not answer")


@pytest.mark.parametrize(
    "address",
    ["nothing", "mysql://me:secret@localhost/bill", "postgresql+none://me:secret@db/bill"],
)
def test_an_invalid_database_url_is_reported_without_its_password(
    shell: Shell, address: str
) -> None:
    database = {"BILLING_DATABASE_URL": address}
    ran = shell.call(*BILLING, "invoice", "acme", "2021-03", settings=database)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: the ")
    assert "secret" not in ran.err


def test_a_failing_database_is_an_error(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / DATABASE).mkdir()
    ran = shell.call(*BILLING, "reconcile")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: the billing database failed (OperationalError)")


# --- invoices -------------------------------------------------------------------------------------


@on_both
def test_an_invoice_has_the_units_of_the_month_at_their_prices(
    shell: Shell, settings: Settings
) -> None:
    last = HOUR_ZERO + 31 * 24 * HOUR
    send(
        settings,
        [
            *(event(f"a-{number}", event_type="api_call") for number in range(1_234)),
            *(
                event(f"v-{number}", event_type="page_view", timestamp=last - HOUR)
                for number in (1, 2)
            ),
            event("april", timestamp=last),
            event("other", customer_id="other"),
        ],
    )
    assert shell.call(*until_end(settings)).code == 0
    shell.write("prices.toml", 'currency = "EUR"\n[prices]\napi_call = 0.002\npage_view = 0.0075\n')

    ran = shell.call(*BILLING, "invoice", "acme", "2021-03", "--prices", "prices.toml")
    unpriced = shell.write("few.toml", 'currency = "EUR"\n[prices]\napi_call = 1\n')
    refused = shell.call(*BILLING, "invoice", "acme", "2021-03", "--prices", unpriced)

    # 1,234 × 0.002 = 2.468; 2 × 0.0075 = 0.015, for which a float is a little too small.
    assert (ran.code, ran.out) == (
        0,
        "Invoice for acme, 2021-03 (hours of UTC)\n"
        "\n"
        "event type  units  price (EUR)  amount (EUR)\n"
        "api_call    1,234        0.002          2.47\n"
        "page_view       2       0.0075          0.02\n"
        "total       1,236                       2.49\n",
    )
    assert (refused.code, refused.err) == (
        2,
        "error: the price table has no price for 'page_view': add it\n",
    )
