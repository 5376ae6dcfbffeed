"""The recount: distinct events of the archive, against the counters both ways, and into a store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog
from pyspark.sql import SparkSession

from events.archive.archiver import Archiver
from events.archive.catalog import open_catalog
from events.bootstrap import make_bulk_loader, make_client, make_service
from events.config import Settings
from events.dao import DynamoStore
from events.domain.timestamps import format_timestamp
from events.errors import StoreRefused
from events.models import Event
from events.service import EventService
from jobs import recount
from jobs.lib.session import opened_session
from tests.stream.archives import hourly, produce, rows_of
from tests.support.factories import DAY, HOUR, HOUR_ZERO, event, many_events

pytestmark = pytest.mark.usefixtures("spark", "job_environment")

Job = Callable[..., tuple[int, Any]]


@pytest.fixture
def job(capsys: pytest.CaptureFixture[str]) -> Job:
    """Runs the recount in this process; gives its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = recount.main([*arguments, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else said.err

    return run


def archive(settings: Settings, messages: Sequence[Event | bytes]) -> None:
    produce(settings, messages)
    Archiver(settings, is_until_end=True, patience_seconds=30).run()


def counted(settings: Settings) -> Mapping[tuple[str, str, datetime], int]:
    """What the table of hourly counts holds."""
    return {
        (row["customer_id"], row["event_type"], row["hour"].astimezone(UTC)): row["count"]
        for row in rows_of(settings, "hourly_counts")
    }


def awkward_events() -> list[Event]:
    """Ids that a key escapes, the first and last hours there are, and twins by one field."""
    return [
        *many_events(200, customers=4, event_types=3, hours=50),
        event("a-b", event_type="x-y%"),
        event("b", event_type="x-y%-a"),
        event("ü", customer_id="größe", event_type="日本"),
        event("t", timestamp=datetime(1, 1, 1, tzinfo=UTC)),
        event("t", timestamp=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        event("t", timestamp=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        event("t", timestamp=HOUR_ZERO + HOUR - timedelta(microseconds=1)),
        event("t", timestamp=HOUR_ZERO + HOUR),
    ]


# --- the recount ----------------------------------------------------------------------------------


def test_the_recount_is_an_independent_count_whatever_came_twice(
    settings: Settings, job: Job
) -> None:
    events = awkward_events()
    archive(settings, [*events, *events[::3], b"no event"])
    assert job() == (0, {"events": len(events)})
    assert counted(settings) == hourly(events)
    # Again, it is the same.
    assert job() == (0, {"events": len(events)})
    assert counted(settings) == hourly(events)


def test_a_recount_of_some_days_leaves_the_others_as_they_are(settings: Settings, job: Job) -> None:
    first, second, third = (
        many_events(30, seed=day, start=HOUR_ZERO + DAY * day) for day in (0, 1, 2)
    )
    archive(settings, [*first, *second, *third])
    days = ("--start", "2021-03-02", "--end", "2021-03-03")
    assert job(*days) == (0, {"events": 30})
    assert counted(settings) == hourly(second)
    job()
    late = event("late", timestamp=HOUR_ZERO + DAY)
    archive(settings, [late, event("late", timestamp=HOUR_ZERO)])
    assert job(*days) == (0, {"events": 31})
    assert counted(settings) == hourly([*first, *second, late, *third])


def test_half_a_day_cannot_be_recounted(job: Job) -> None:
    code, said = job("--start", "2021-03-01T12:00:00Z")
    assert code == 2
    assert "no UTC midnight" in said


def test_without_an_archive_there_is_nothing_to_recount(job: Job) -> None:
    code, said = job()
    assert code == 2
    assert "archive first" in said


# --- against the counters -------------------------------------------------------------------------


def test_counters_that_equal_the_archive_are_found_equal(
    settings: Settings, job: Job, service: EventService
) -> None:
    events = awkward_events()
    archive(settings, [*events, *events[:20]])
    service.ingest(events)
    customers = len({each.customer_id for each in events})
    assert job("--compare") == (
        0,
        {
            "events": len(events), "is_equal": True, "customers": customers, "voided": 0,
            "differences": [],
        },
    )  # fmt: skip


def difference(
    event_: Event, event_type: str | None, counter: int, recount: int
) -> dict[str, object]:
    return {
        "customer_id": event_.customer_id,
        "ts_start_of_hour": format_timestamp(event_.timestamp),
        "event_type": event_type,
        "counter": counter,
        "recount": recount,
    }


def test_every_planted_difference_is_found_both_ways_and_a_voided_event_is_none(
    settings: Settings, job: Job, service: EventService
) -> None:
    both = many_events(40, customers=2)
    lacking = event("lacking", customer_id="only-archived")
    extra = event("extra", customer_id="only-stored")
    voided = event("voided", customer_id="voider")
    elsewhere = event("elsewhere", customer_id="voider", timestamp=HOUR_ZERO + HOUR)
    archive(settings, [*both, lacking, voided, event("kept", customer_id="voider")])
    service.ingest([*both, extra, voided, elsewhere, event("kept", customer_id="voider")])
    # The archive has the first and never had the second, which so hides nothing.
    service.void([voided, elsewhere], reason="a test")
    code, said = job("--compare")
    assert code == 1
    assert said["voided"] == 1
    assert sorted(said["differences"], key=str) == sorted(
        [
            difference(lacking, None, 0, 1),
            difference(lacking, "api_call", 0, 1),
            difference(extra, None, 1, 0),
            difference(extra, "api_call", 1, 0),
        ],
        key=str,
    )


def test_a_falsified_counter_is_found(settings: Settings, job: Job, service: EventService) -> None:
    events = many_events(20)
    archive(settings, events)
    service.ingest(events)
    client = make_client(settings)
    client.update_item(
        TableName=f"{settings.dynamodb_events_table_name}_hourly_counts",
        Key={"customer_id": {"S": "customer-0"}, "counter_key": {"S": "total#2021-03-01"}},
        UpdateExpression="ADD h05 :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )
    client.close()
    code, said = job("--compare")
    assert code == 1
    (found,) = said["differences"]
    assert found["ts_start_of_hour"] == "2021-03-01T05:00:00.000000Z"
    assert found["event_type"] is None
    assert found["counter"] == found["recount"] + 1


# --- into a store ---------------------------------------------------------------------------------


def contents(settings: Settings) -> dict[str, list[Any]]:
    """Everything in both tables, but for times of day."""
    client = make_client(settings)
    found = {}
    for suffix in ("", "_hourly_counts"):
        pages = client.get_paginator("scan").paginate(
            TableName=settings.dynamodb_events_table_name + suffix, ConsistentRead=True
        )
        stamps = ("ingested_at", "updated_at", "registered_at")
        found[suffix] = sorted(
            (
                {name: value for name, value in item.items() if name not in stamps}
                for page in pages
                for item in page["Items"]
            ),
            key=lambda item: json.dumps(item, sort_keys=True),
        )
    client.close()
    return found


def test_events_that_are_loaded_are_what_an_ingest_would_have_stored(
    settings: Settings, job: Job
) -> None:
    events = awkward_events()
    archive(settings, [*events, *events[::2]])
    code, said = job("--load-events")
    assert (code, said["is_equal"], said["differences"]) == (0, True, [])
    loaded = contents(settings)

    again = settings.model_copy(
        update={"dynamodb_events_table_name": settings.dynamodb_events_table_name + "-ingested"}
    )
    service = make_service(again)
    service.ingest(events)
    assert loaded == contents(again)
    service.close()


def test_counts_that_are_loaded_without_events_equal_the_recount(
    settings: Settings, job: Job, store: DynamoStore
) -> None:
    events = many_events(100, customers=3)
    archive(settings, events)
    code, said = job("--load")
    assert (code, said["is_equal"], said["customers"]) == (0, True, 3)
    assert store.customers(prefix="", after=None, limit=9) == [
        f"customer-{each}" for each in range(3)
    ]
    assert list(store.counted_events("customer-0", recount.days_between(None, None))) == []


def test_tables_that_hold_something_are_not_loaded_into(
    settings: Settings, job: Job, service: EventService
) -> None:
    archive(settings, many_events(5))
    service.ingest([event()])
    before = contents(settings)
    code, said = job("--load-events")
    assert code == 2
    assert "is not empty" in said
    assert contents(settings) == before


def test_a_load_that_was_cut_off_goes_on_with_what_it_began_with(
    settings: Settings, job: Job
) -> None:
    events = many_events(60, customers=3)
    archive(settings, events)
    window = recount.days_between(None, None)
    with opened_session("tests", settings) as spark:
        plan = recount.begun_plan(spark, settings, window, has_events=True)
    loader = make_bulk_loader(settings)
    at = loader.begin(json.dumps(plan))
    loader.put_events(events[:10], at)
    with pytest.raises(StoreRefused, match="another load"):
        loader.begin("something else")
    loader.close()
    # What is archived meanwhile belongs to the next load, or to the consumer.
    archive(settings, [event("later")])

    code, said = job("--load-events")
    assert (code, said["events"], said["is_equal"]) == (0, 60, True)


def test_spark_and_pyiceberg_read_each_other_s_tables(
    settings: Settings, spark: SparkSession, job: Job
) -> None:
    archive(settings, many_events(10))
    job()
    catalog: Catalog = open_catalog(settings)
    assert sorted(catalog.list_tables("events")) == [("events", "hourly_counts"), ("events", "raw")]
    catalog.close()
    assert spark.table(f"{settings.iceberg_catalog_name}.events.raw").count() == 10


def test_a_day_of_long_ago_is_the_day_that_was_asked_for(settings: Settings, job: Job) -> None:
    midnight = datetime(1500, 1, 1, tzinfo=UTC)
    events = [event("t", timestamp=midnight + each * DAY) for each in range(3)]
    archive(settings, events)
    assert job("--start", "1500-01-02", "--end", "1500-01-03") == (0, {"events": 1})
    assert counted(settings) == hourly(events[1:2])
    assert job() == (0, {"events": 3})
    assert job("--start", "1500-01-02", "--end", "1500-01-03") == (0, {"events": 1})
    assert counted(settings) == hourly(events)


def test_an_error_of_spark_is_not_taken_for_a_difference(settings: Settings, job: Job) -> None:
    archive(settings, many_events(3))
    for each in Path(settings.iceberg_folder).rglob("*.parquet"):
        each.unlink()
    code, said = job("--compare")
    assert code == 2
    assert "NotFoundException" in said


def test_an_option_that_would_do_nothing_is_refused(job: Job) -> None:
    code, said = job("--to-dynamodb")
    assert (code, said[:37]) == (2, "error: --to-dynamodb goes only with -")
