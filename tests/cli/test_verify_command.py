"""`python -m events verify`: what it reports and repairs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.factories import Contents
from tests.support.shell import Ran, Shell, free_port, is_open
from tests.support.tables import Tables, contents_of

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: Two customers; the first has events on two days, two types, and two in one hour.
STORED = contents_of(
    [
        ("acme", "api_call", "t-1", TEN),
        ("acme", "api_call", "t-2", TEN + HOUR / 2),
        ("acme", "sign-in", "t-3", TEN + HOUR),
        ("acme", "api_call", "t-4", TEN + DAY),
        ("globex", "api_call", "t-1", TEN),
    ]
)
ALL_EQUAL = "every counter equals its recount"
IN_BOTH = "2 customers, 3 days, 5 events recounted in … s: "


@pytest.fixture
def stored(tables: Tables) -> Contents:
    """Tables in which every counter is right."""
    tables.fill(STORED)
    return STORED


def verify(shell: Shell, *arguments: str) -> Ran:
    ran = shell.call("-m", "events", "verify", *arguments)
    return ran._replace(out=re.sub(r"recounted in [0-9.,]+ s", "recounted in … s", ran.out))


def difference(hour: datetime, types: str, counter: int, recount: int) -> str:
    text = hour.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    return f"customer acme, hour {text}, {types}: counter {counter}, recount {recount}\n"


def falsify(tables: Tables) -> None:
    """One counter too high, one too low, one event that no counter has."""
    tables.add("acme", "total#2021-03-01", "h10", 1_000)
    tables.add("acme", "type#2021-03-01#sign-in", "h11", -1)
    tables.put_foreign("acme", "2021-03-02T10:00:00.000000Z-search-t-5")


FALSIFIED = (
    difference(TEN, "all types", 1_002, 2).replace("1002", "1,002")
    + difference(TEN + HOUR, "type sign-in", 0, 1)
    + difference(TEN + DAY, "all types", 1, 2)
    + difference(TEN + DAY, "type search", 0, 1)
)


@pytest.mark.usefixtures("stored")
def test_equal_counters_are_one_line(shell: Shell) -> None:
    assert verify(shell) == Ran(0, f"{IN_BOTH}{ALL_EQUAL}\n", "")


@pytest.mark.usefixtures("stored")
def test_each_difference_is_a_line_and_the_exit_code_is_1(shell: Shell, tables: Tables) -> None:
    falsify(tables)
    before = tables.contents()

    ran = verify(shell)

    assert ran == Ran(
        1,
        f"{FALSIFIED}2 customers, 3 days, 6 events recounted in … s: "
        "4 counters differ from their recount\n",
        "",
    )
    assert tables.contents() == before


@pytest.mark.usefixtures("stored")
def test_repair_writes_the_recount_and_the_next_run_finds_nothing(
    shell: Shell, tables: Tables
) -> None:
    falsify(tables)
    tables.unlist("globex")

    repaired = verify(shell, "--repair")
    after = tables.contents()
    again = verify(shell)

    text = "2 customers, 3 days, 6 events recounted in … s: "
    assert (repaired.code, repaired.err) == (1, "")
    assert repaired.out == (
        f"{FALSIFIED}"
        "customer globex: has events and is missing from the list of customers\n"
        f"{text}4 counters differ from their recount; 5 items repaired\n"
    )
    right = contents_of(
        [
            ("acme", "api_call", "t-1", TEN),
            ("acme", "api_call", "t-2", TEN + HOUR / 2),
            ("acme", "sign-in", "t-3", TEN + HOUR),
            ("acme", "api_call", "t-4", TEN + DAY),
            ("acme", "search", "t-5", TEN + DAY),
            ("globex", "api_call", "t-1", TEN),
        ]
    )
    assert after == right
    assert again == Ran(0, f"{text}{ALL_EQUAL}\n", "")


@pytest.mark.usefixtures("stored")
def test_foreign_items_and_unlisted_customers_are_reported(shell: Shell, tables: Tables) -> None:
    tables.put_foreign("acme", "a note, of 2021–2022")
    tables.unlist("globex")

    ran = verify(shell)

    assert ran == Ran(
        1,
        "customer acme: the item 'a note, of 2021\\u20132022' in the events table is not an "
        "event, or in a wrong shard; delete it\n"
        "customer globex: has events and is missing from the list of customers\n"
        f"{IN_BOTH}no counter differs, but see above\n",
        "",
    )


@pytest.mark.usefixtures("stored")
def test_json_has_the_whole_answer(shell: Shell, tables: Tables) -> None:
    falsify(tables)
    tables.put_foreign("acme", "a note")
    tables.unlist("globex")

    ran = verify(shell, "--json")

    assert (ran.code, ran.err, ran.out.count("\n")) == (1, "", 1)
    text = json.loads(ran.out)
    assert 0 < text.pop("seconds") < 60

    def differs(hour: str, event_type: str | None, counter: int, recount: int) -> object:
        return {
            "customer_id": "acme",
            "ts_start_of_hour": hour,
            "event_type": event_type,
            "counter": counter,
            "recount": recount,
        }

    assert text == {
        "is_equal": False,
        "customers": 2,
        "days": 3,
        "events": 6,
        "differences": [
            differs("2021-03-01T10:00:00.000000Z", None, 1_002, 2),
            differs("2021-03-01T11:00:00.000000Z", "sign-in", 0, 1),
            differs("2021-03-02T10:00:00.000000Z", None, 1, 2),
            differs("2021-03-02T10:00:00.000000Z", "search", 0, 1),
        ],
        "unsettled": [],
        "foreign": [{"customer_id": "acme", "event_key": "a note"}],
        "unlisted": ["globex"],
        "repaired": 0,
    }


@pytest.mark.usefixtures("stored")
def test_json_of_equal_counters(shell: Shell) -> None:
    ran = verify(shell, "--json")

    text = json.loads(ran.out)
    text.pop("seconds")
    assert (ran.code, ran.err) == (0, "")
    assert text == {
        "is_equal": True,
        "customers": 2,
        "days": 3,
        "events": 5,
        "differences": [],
        "unsettled": [],
        "foreign": [],
        "unlisted": [],
        "repaired": 0,
    }


@pytest.mark.usefixtures("stored")
def test_one_customer_can_be_recounted_alone(shell: Shell, tables: Tables) -> None:
    falsify(tables)

    theirs = verify(shell, "--customer", "globex", "--json")
    other = verify(shell, "--customer", "acme")

    text = json.loads(theirs.out)
    assert (theirs.code, text["customers"], text["days"], text["events"]) == (0, 1, 1, 1)
    assert other.code == 1
    assert other.out.startswith(f"{FALSIFIED}1 customer")


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--end", "2021-03-02"), "2 days, 4 events"),
        (("--start", "2021-03-01", "--end", "2021-03-01T11:00Z"), "2 days, 4 events"),
        (("--end", "2021-03-01T23:00:00-02:00"), "3 days, 6 events"),
        (("--start", "2021-03-01T23:59:59.999999Z"), "3 days, 6 events"),
    ],
)
def test_only_the_utc_days_that_the_times_touch_are_recounted(
    shell: Shell, tables: Tables, arguments: tuple[str, ...], expected: str
) -> None:
    tables.put_foreign("acme", "2021-03-02T10:00:00.000000Z-search-t-5")

    ran = verify(shell, *arguments)

    is_found = expected.startswith("3")
    lines = difference(TEN + DAY, "all types", 1, 2) + difference(TEN + DAY, "type search", 0, 1)
    text = "2 counters differ from their recount" if is_found else ALL_EQUAL
    assert ran == Ran(
        int(is_found),
        f"{lines if is_found else ''}2 customers, {expected} recounted in … s: {text}\n",
        "",
    )


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("arguments", "customers"),
    [
        (("--start", "2021-03-03"), "2 customers"),
        # A mistyped id must not look like a proof.
        (("--customer", "acmee"), "1 customer"),
    ],
)
def test_an_empty_recount_is_not_reported_as_equal(
    shell: Shell, arguments: tuple[str, ...], customers: str
) -> None:
    text = "0 days, 0 events recounted in … s: there is nothing to compare\n"

    assert verify(shell, *arguments) == Ran(0, f"{customers}, {text}", "")


def test_a_store_that_does_not_answer_is_reported(shell: Shell) -> None:
    port = free_port()
    shell.settings["DYNAMODB_ENDPOINT_URL"] = f"http://localhost:{port}"

    ran = verify(shell)

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"error: the store at http://localhost:{port} did not answer in time")
    assert not is_open(port)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--customer", " acme"), "customer_id: has white space at its start or end"),
        (("--customer", ""), "customer_id: is empty"),
        (
            ("--start", "yesterday"),
            "--start: 'yesterday' is not an ISO 8601 date and time like 2021-03-01T00:00:00Z",
        ),
        (
            ("--end", "2021-02-30"),
            "--end: '2021-02-30' is not a valid date and time: day is out of range for month",
        ),
        (("--end", ""), "--end: is empty"),
    ],
)
def test_an_invalid_id_or_time_is_named_with_its_option(
    shell: Shell, arguments: tuple[str, ...], message: str
) -> None:
    assert verify(shell, *arguments) == Ran(2, "", f"error: {message}\n")


def test_an_end_before_the_start_is_an_error(shell: Shell) -> None:
    ran = verify(shell, "--start", "2021-03-02", "--end", "2021-03-01")

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: ")
    assert "start" in ran.err
    assert "end" in ran.err
    assert "2021-03-02" in ran.err
