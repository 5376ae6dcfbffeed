"""examples/billing as its user runs it: whatever happens, the bill equals the buckets."""

from __future__ import annotations

import json
import random
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from confluent_kafka import OFFSET_END, TopicPartition
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from events.config import Settings
from events.kafka.clients import Cluster, ensure_topics, make_admin, make_producer
from events.models import Event
from events.service import EventService
from examples.billing.ledger import Batch, Ledger
from tests.stream import postgres
from tests.stream.archives import PARTITIONS, produce_in_transaction
from tests.support.factories import HOUR, HOUR_ZERO, event, many_events, time_text
from tests.support.shell import Command, Shell, free_port, until

BILLING = ("-m", "examples.billing")
DATABASE = "billing.sqlite"
NO_EVENTS = [
    b"",
    b"no JSON",
    b"[]",
    b'{"customer_id": "acme", "event_type": "api_call", "transaction_id": "t-9"}',
    b'{"customer_id": "acme", "event_type": "api_call", "transaction_id": "t-9", '
    b'"timestamp": "yesterday"}',
]

#: Customer, start of the hour, event type.
Place = tuple[str, str, str]


#: Tests of the statements that PostgreSQL might take in another way.
on_both = pytest.mark.parametrize("bill_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    found = postgres.programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed here")
    with postgres.server(found) as url:
        yield url


@pytest.fixture
def bill_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the bill of this test is; SQLite, if it does not say."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path / DATABASE}"
    else:
        with postgres.database(request.getfixturevalue("postgresql")) as url:
            yield url


@pytest.fixture
def shell(tmp_path: Path, settings: Settings, bill_url: str) -> Iterator[Shell]:
    """A shell whose commands use the topic and the tables of this test, and a bill of its own."""
    ensure_topics(Cluster.of(settings), settings.events_kafka_topic, partitions=PARTITIONS)
    shell = Shell(
        tmp_path / "here",
        {
            "DYNAMODB_ENDPOINT_URL": settings.dynamodb_endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": settings.dynamodb_events_table_name,
            "EVENTS_KAFKA_BOOTSTRAP_SERVERS": settings.events_kafka_bootstrap_servers,
            "EVENTS_KAFKA_TOPIC": settings.events_kafka_topic,
            "EVENTS_RATE_PER_ADDRESS": "",
            "BILLING_DATABASE_URL": bill_url,
        },
    )
    yield shell
    shell.end()


@pytest.fixture
def url(shell: Shell) -> str:
    """Where the API of this test answers."""
    port = free_port()
    command = shell.start("-m", "events", "serve", "--port", str(port))
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        assert command.is_running(), command.err
        with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    until(is_ready)
    return url


def bill(settings: Settings, *arguments: str) -> tuple[str, ...]:
    """The command that bills, in a group that only this test uses."""
    return (*BILLING, "run", "--group", settings.events_kafka_group, *arguments)


def until_end(settings: Settings) -> tuple[str, ...]:
    return bill(settings, "--until-end")


def message_of(each: Event) -> bytes:
    return json.dumps(
        {
            "customer_id": each.customer_id,
            "event_type": each.event_type,
            "transaction_id": each.transaction_id,
            "timestamp": time_text(each.timestamp),
        }
    ).encode()


def send(
    settings: Settings, events: Iterable[Event], *, others: Sequence[bytes | None] = ()
) -> None:
    """Put events on the bus, and other messages after them."""
    producer = make_producer(Cluster.of(settings))
    topic = settings.events_kafka_topic
    for each in events:
        producer.produce(topic, key=each.customer_id.encode(), value=message_of(each))
    for message in others:
        producer.produce(topic, key=b"acme", value=message)
    assert producer.flush(30) == 0


def counted(events: Iterable[Event]) -> dict[Place, int]:
    """The bill of these events, each as often as it likes, counted one by one."""
    return dict(
        Counter(
            (each.customer_id, f"{time_text(each.timestamp)[:13]}:00:00.000000Z", each.event_type)
            for each in set(events)
        )
    )


def rows(shell: Shell, query: str) -> list[tuple[Any, ...]]:
    with connected(shell) as connection:
        return [tuple(each) for each in connection.execute(text(query))]


def change(shell: Shell, statement: str) -> None:
    with connected(shell) as connection:
        connection.execute(text(statement))


@contextmanager
def connected(shell: Shell) -> Iterator[Connection]:
    """To the bill, past the example; what is done is committed at the end."""
    url = shell.settings["BILLING_DATABASE_URL"]
    with create_engine(url, poolclass=NullPool).begin() as connection:
        yield connection


def billed(shell: Shell) -> dict[Place, int]:
    """The bill as it stands in the database; nothing of the example reads it here."""
    found = rows(shell, "SELECT customer_id, hour, event_type, units FROM billing_usage")
    return {(str(a), str(b), str(c)): int(units) for a, b, c, units in found}


def units_so_far(shell: Shell) -> int:
    """What is billed while a run is under way, perhaps before it made its tables."""
    with suppress(DBAPIError):
        ((units,),) = rows(shell, "SELECT coalesce(sum(units), 0) FROM billing_usage")
        return int(units)
    return 0


def kill_when_billed(shell: Shell, command: Command, *, units: int) -> None:
    """`kill -9` as soon as so many units are billed."""
    until(lambda: units_so_far(shell) >= units or not command.is_running())
    command.signal(signal.SIGKILL)
    assert command.ended().code == -signal.SIGKILL


def repeated(events: Sequence[Event], *, seed: int) -> list[Event]:
    """These events, a third of them twice, in any order."""
    rng = random.Random(seed)
    all_of_them = [*events, *rng.sample(events, len(events) // 3)]
    rng.shuffle(all_of_them)
    return all_of_them


def said(*, messages: int, billed: int, repeated: int, bad: int = 0) -> str:
    return (
        f"{messages:,} messages: {billed:,} billed, {repeated:,} repeated, "
        f"{bad:,} that are no events\n"
    )


# --- what is on the bus is billed once ------------------------------------------------------------


@on_both
def test_duplicates_are_billed_once_and_bad_messages_are_named_and_kept(
    shell: Shell, settings: Settings
) -> None:
    events = many_events(300, customers=5, hours=48)
    send(settings, repeated(events, seed=1), others=[*NO_EVENTS, None])

    ran = shell.run(*until_end(settings), "--batch-size", "50")

    assert (ran.code, ran.out) == (0, said(messages=406, billed=300, repeated=100, bad=6))
    assert ran.err.count("no event: partition ") == 6
    assert "timestamp: 'yesterday' is not a date and time" in ran.err
    assert billed(shell) == counted(events)
    assert rows(shell, "SELECT count(*) FROM billing_bad_messages") == [(6,)]


def test_a_second_run_goes_on_where_the_first_ended_and_a_replay_bills_nothing_again(
    shell: Shell, settings: Settings
) -> None:
    first, later = many_events(200, customers=4), many_events(50, customers=4, seed=1)
    send(settings, first, others=NO_EVENTS)
    assert shell.run(*until_end(settings)).code == 0
    send(settings, [*later, *first[:20]])

    ran = shell.run(*until_end(settings))
    again = shell.run(*until_end(settings), "--from-start")

    assert (ran.code, ran.out) == (0, said(messages=70, billed=50, repeated=20))
    assert (again.code, again.out) == (0, said(messages=275, billed=0, repeated=270, bad=5))
    assert billed(shell) == counted([*first, *later])
    assert rows(shell, "SELECT count(*) FROM billing_bad_messages") == [(5,)]


@on_both
def test_a_run_that_is_killed_at_any_moment_leaves_the_bill_exact(
    shell: Shell, settings: Settings
) -> None:
    events = many_events(3_000, customers=20, event_types=3, hours=72)
    sent = repeated(events, seed=2)
    send(settings, sent, others=NO_EVENTS)
    rng = random.Random(3)

    for moment in sorted(rng.sample(range(200, 2_500), 6)):
        command = shell.start(*until_end(settings), "--batch-size", "20")
        kill_when_billed(shell, command, units=moment)
        assert units_so_far(shell) < len(events), "it was hit before its end"
        ((seen,),) = rows(shell, "SELECT count(*) FROM billing_seen")
        assert seen == units_so_far(shell), "nothing is seen that is not billed"
    ran = shell.run(*until_end(settings))

    assert ran.code == 0
    assert billed(shell) == counted(events)
    ((read,),) = rows(shell, "SELECT sum(next_offset) FROM billing_offsets")
    assert read == len(sent) + len(NO_EVENTS)


def test_a_run_without_an_end_bills_what_comes_and_stops_in_good_order(
    shell: Shell, settings: Settings
) -> None:
    command = shell.start(*bill(settings))
    events = many_events(30)
    send(settings, events)
    until(lambda: units_so_far(shell) == 30)

    command.signal(signal.SIGTERM)
    ran = command.ended()

    assert (ran.code, ran.out, ran.err) == (
        0,
        said(messages=30, billed=30, repeated=0),
        "stopped\n",
    )
    assert billed(shell) == counted(events)


@on_both
def test_two_processes_share_the_topic(shell: Shell, settings: Settings) -> None:
    events = many_events(400, customers=30)
    commands = [shell.start(*bill(settings, "--member", name)) for name in ("a", "b")]
    send(settings, repeated(events, seed=4))
    until(lambda: units_so_far(shell) == len(events))

    for each in commands:
        each.signal(signal.SIGTERM)

    assert [each.ended().code for each in commands] == [0, 0]
    assert billed(shell) == counted(events)


@on_both
def test_processes_that_start_at_once_all_find_the_tables(shell: Shell) -> None:
    together = Barrier(4)

    def create_tables(_: int) -> None:
        ledger = Ledger(shell.settings["BILLING_DATABASE_URL"])
        together.wait(timeout=30)
        ledger.create_tables()
        ledger.close()

    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            list(threads.map(create_tables, range(4)))
            for name in ("seen", "usage", "offsets", "bad_messages"):
                change(shell, f"DROP TABLE billing_{name}")


def test_messages_that_are_gone_before_they_were_read_stop_the_run(
    shell: Shell, settings: Settings
) -> None:
    events = many_events(40)
    send(settings, events)
    assert shell.run(*until_end(settings)).code == 0
    # As after a deletion, or where the topic was made anew: there is no such place.
    change(shell, "UPDATE billing_offsets SET next_offset = 1000")

    ran = shell.run(*until_end(settings))

    assert (ran.code, ran.out) == (2, said(messages=0, billed=0, repeated=0))
    assert "is not there: it was deleted before it was read" in ran.err
    assert shell.run(*until_end(settings), "--from-start").code == 0
    assert billed(shell) == counted(events)


def test_the_mark_of_a_transaction_that_was_deleted_stops_nothing(
    shell: Shell, settings: Settings
) -> None:
    produce_in_transaction(settings, many_events(40))
    assert shell.run(*until_end(settings)).code == 0
    admin = make_admin(Cluster.of(settings))
    places = [
        TopicPartition(settings.events_kafka_topic, partition, OFFSET_END)
        for partition in range(PARTITIONS)
    ]
    for future in admin.delete_records(places).values():
        future.result()

    ran = shell.run(*until_end(settings))

    assert (ran.code, ran.out) == (0, said(messages=0, billed=0, repeated=0)), ran.err


def test_a_member_that_comes_back_for_another_topic_does_not_bill_the_first_under_its_name(
    shell: Shell, settings: Settings
) -> None:
    send(settings, many_events(20))
    assert shell.run(*until_end(settings)).code == 0
    other = settings.model_copy(update={"events_kafka_topic": f"{settings.events_kafka_topic}.2"})
    ensure_topics(Cluster.of(settings), other.events_kafka_topic)
    send(other, many_events(30, seed=1))
    environment = {"EVENTS_KAFKA_TOPIC": other.events_kafka_topic}

    same = shell.run(*until_end(settings), settings=environment)
    another = shell.run(
        *BILLING, "run", "--until-end", "--group", "another-group", settings=environment
    )

    assert (same.code, same.out) == (2, said(messages=0, billed=0, repeated=0))
    assert f"still knows billing-1 as a reader of {settings.events_kafka_topic}" in same.err
    assert (another.code, another.out) == (0, said(messages=30, billed=30, repeated=0))


def test_a_topic_that_is_not_there_is_said(shell: Shell, settings: Settings) -> None:
    ran = shell.start(*until_end(settings), settings={"EVENTS_KAFKA_TOPIC": "nothing-here"}).ended()
    assert (ran.code, ran.err) == (2, "error: the topic nothing-here is not there\n")


# --- the bill and the buckets ---------------------------------------------------------------------


def test_bill_and_buckets_are_equal_to_the_unit_after_kills_and_a_replay(
    shell: Shell, settings: Settings, service: EventService, url: str
) -> None:
    events = [
        *many_events(600, customers=6, event_types=3, hours=50),
        event("t-late", customer_id="ünï/../cödé %2F", timestamp=HOUR_ZERO - 9_000 * HOUR),
    ]
    sent = repeated(events, seed=5)
    send(settings, sent, others=NO_EVENTS)
    service.ingest(sent)
    command = shell.start(*until_end(settings), "--batch-size", "10")
    kill_when_billed(shell, command, units=50)
    assert shell.run(*until_end(settings)).code == 0
    assert shell.run(*until_end(settings), "--from-start").code == 0

    ran = shell.run(*BILLING, "reconcile", "--url", url)

    hours = len({place[:2] for place in counted(events)})
    assert (ran.code, ran.out) == (
        0,
        f"7 customers, {hours} hours, 601 units billed: equal to the unit\n",
    )
    assert billed(shell) == counted(events)


def test_every_difference_is_found_on_either_side(
    shell: Shell, settings: Settings, service: EventService, url: str
) -> None:
    both = [event(f"t-{number}") for number in range(5)]
    send(settings, [*both, event("t-5", customer_id="billed only")])
    service.ingest([*both, event("t-6", customer_id="counted only", event_type="click")])
    assert shell.run(*until_end(settings)).code == 0
    change(shell, "UPDATE billing_usage SET units = units + 1 WHERE customer_id = 'acme'")

    ran = shell.run(*BILLING, "reconcile", "--url", url)
    before = shell.run(
        *BILLING, "reconcile", "--url", url, "--before", time_text(HOUR_ZERO), "--patience", "0"
    )

    hour = "2021-03-01T00:00:00.000000Z"
    assert (before.code, before.out) == (
        0,
        "3 customers, 0 hours, 0 units billed: equal to the unit\n",
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


def test_a_bill_that_lags_behind_is_waited_for(
    shell: Shell, settings: Settings, service: EventService, url: str
) -> None:
    events = many_events(50)
    service.ingest(events)
    command = shell.start(*BILLING, "reconcile", "--url", url, "--patience", "60")
    send(settings, events)
    assert shell.run(*until_end(settings)).code == 0
    assert command.ended().code == 0


@on_both
def test_voided_events_are_a_difference_until_they_are_taken_out_of_the_bill(
    shell: Shell, settings: Settings, service: EventService, url: str
) -> None:
    events = [event(f"t-{number}") for number in range(4)]
    service.ingest(events)
    service.void(events[:2], reason="test traffic")
    send(settings, events[1:])
    assert shell.run(*until_end(settings)).code == 0

    before = shell.run(*BILLING, "reconcile", "--url", url)
    taken = shell.run(*BILLING, "reconcile", "--url", url, "--take-voided")
    # The bus brings one that was voided before it was ever billed, and one again.
    send(settings, events[:2])
    late = shell.run(*until_end(settings))
    after = shell.run(*BILLING, "reconcile", "--url", url)

    hour = "2021-03-01T00:00:00.000000Z"
    assert before.out.splitlines()[0] == f"acme  {hour}  api_call  billed 3, counted 2"
    assert (before.code, taken.code, after.code) == (1, 0, 0)
    assert late.out == said(messages=2, billed=0, repeated=2)
    assert billed(shell) == counted(events[2:])


@on_both
def test_more_events_of_an_hour_are_taken_out_of_the_bill_than_a_statement_takes(
    bill_url: str,
) -> None:
    # Two values each: more than a statement takes, of which Debian's SQLite allows 250,000.
    events = many_events(130_000, customers=1, event_types=1, hours=1)
    ledger = Ledger(bill_url)
    ledger.create_tables()
    ledger.record(Batch("events", events[:5_000], [], {0: 5_000}))
    assert ledger.void(events) == 5_000
    assert ledger.units(events[0].customer_id) == {}
    # What the bus brings only now was voided before it was billed.
    assert ledger.record(Batch("events", events[-5_000:], [], {0: 130_000})) == 0
    ledger.close()


def test_an_api_that_does_not_answer_is_no_difference(shell: Shell) -> None:
    ran = shell.run(*BILLING, "reconcile", "--url", "http://127.0.0.1:1")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: no API answers at http://127.0.0.1:1")


@pytest.mark.parametrize(
    "address",
    ["nothing", "mysql://me:secret@localhost/bill", "postgresql+none://me:secret@db/bill"],
)
def test_a_database_that_cannot_be_used_is_said_without_its_password(
    shell: Shell, address: str
) -> None:
    command = shell.start(
        *BILLING, "invoice", "acme", "2021-03", settings={"BILLING_DATABASE_URL": address}
    )
    ran = command.ended()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: the ")
    assert "secret" not in ran.err


def test_a_database_that_fails_ends_the_run_and_is_no_difference(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / DATABASE).mkdir()
    ran = shell.run(*BILLING, "reconcile")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: the database of the bill failed (OperationalError)")


# --- invoices -------------------------------------------------------------------------------------


@on_both
def test_an_invoice_has_the_units_of_the_month_at_the_prices_of_the_table(
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
    assert shell.run(*until_end(settings)).code == 0
    shell.write("prices.toml", 'currency = "EUR"\n[prices]\napi_call = 0.002\npage_view = 0.0075\n')

    ran = shell.run(*BILLING, "invoice", "acme", "2021-03", "--prices", "prices.toml")
    unpriced = shell.write("few.toml", 'currency = "EUR"\n[prices]\napi_call = 1\n')
    refused = shell.run(*BILLING, "invoice", "acme", "2021-03", "--prices", unpriced)

    # 1,234 × 0.002 = 2.468; 2 × 0.0075 = 0.015, which a float has a little below it.
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
