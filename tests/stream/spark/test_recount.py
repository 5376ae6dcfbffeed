"""The recount of the archive, compared with the counters or loaded into a store."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from events.bootstrap import make_bulk_loader, make_client, make_service
from events.config import Settings
from events.dao import DynamoStore
from events.datamodels import shard_key
from events.domain.retries import RetryPolicy
from events.domain.timestamps import format_timestamp
from events.errors import StoreRefused
from events.models import Event
from events.service import EventService
from events.sql.store import SqlStore
from jobs import recount
from jobs.lib.result import days_between
from jobs.lib.session import opened_session
from tests.stream.archives import archive as archive_topic
from tests.stream.archives import hour_counts_of, hourly, open_archive, produce
from tests.support.factories import DAY, HOUR, HOUR_ZERO, event, expected_contents, many_events
from tests.support.sqlstore import SqlTables

pytestmark = pytest.mark.usefixtures("spark", "job_environment")

Job = Callable[..., tuple[int, Any]]


@pytest.fixture
def job(capsys: pytest.CaptureFixture[str]) -> Job:
    """Runs the recount in this process; returns its exit code and output."""

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = recount.main([*arguments, "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else captured.err

    return run


def archive(settings: Settings, messages: Sequence[Event | bytes]) -> None:
    produce(settings, messages)
    archive_topic(settings)


def awkward_events() -> list[Event]:
    """Ids that a key escapes, the first and last possible hours, twins except for one field."""
    return [
        *many_events(100, customers=4, event_types=3, hours=50),
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


def test_the_recount_equals_an_independent_count(settings: Settings, job: Job) -> None:
    events = awkward_events()
    archive(settings, [*events, *events[::3], b"no event"])
    assert job() == (0, {"events": len(events)})
    assert hour_counts_of(settings) == hourly(events)
    # A second run changes nothing.
    assert job() == (0, {"events": len(events)})
    assert hour_counts_of(settings) == hourly(events)


def test_a_recount_of_some_days_changes_no_others(settings: Settings, job: Job) -> None:
    first, second, third = (
        many_events(30, seed=day, start=HOUR_ZERO + DAY * day) for day in (0, 1, 2)
    )
    archive(settings, [*first, *second, *third])
    days = ("--start", "2021-03-02", "--end", "2021-03-03")
    assert job(*days) == (0, {"events": 30})
    assert hour_counts_of(settings) == hourly(second)
    job()
    late = event("late", timestamp=HOUR_ZERO + DAY)
    archive(settings, [late, event("late", timestamp=HOUR_ZERO)])
    assert job(*days) == (0, {"events": 31})
    assert hour_counts_of(settings) == hourly([*first, *second, late, *third])


def test_half_a_day_is_refused(job: Job) -> None:
    code, output = job("--start", "2021-03-01T12:00:00Z")
    assert code == 2
    assert "not midnight UTC" in output


def test_a_missing_archive_is_an_error(job: Job) -> None:
    code, output = job()
    assert code == 2
    assert "archive first" in output


# --- against the counters -------------------------------------------------------------------------


def test_equal_counters_are_reported_equal(
    settings: Settings, job: Job, store: DynamoStore, service: EventService
) -> None:
    events = awkward_events()
    archive(settings, [*events, *events[:20]])
    # The counters of one customer's days are sums over four shards.
    store.plans.change("customer-0", lambda plan: plan.with_shards(4, "2021-03-01"))
    service.ingest(events)
    assert shard_key("customer-0", 3) in {
        item["customer_id"]["S"] for item in contents(settings)["_hourly_counts"]
    }
    customers = len({one.customer_id for one in events})
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


def test_differences_are_found_both_ways_and_voids_are_none(
    settings: Settings, job: Job, service: EventService
) -> None:
    both = many_events(40, customers=2)
    lacking = event("lacking", customer_id="only-archived")
    extra = event("extra", customer_id="only-stored")
    voided = event("voided", customer_id="voider")
    elsewhere = event("elsewhere", customer_id="voider", timestamp=HOUR_ZERO + HOUR)
    archive(settings, [*both, lacking, voided, event("kept", customer_id="voider")])
    service.ingest([*both, extra, voided, elsewhere, event("kept", customer_id="voider")])
    # The archive has the first of these events only: the second explains no difference.
    service.void([voided, elsewhere], reason="a test")
    code, output = job("--compare")
    assert code == 1
    assert output["voided"] == 1
    assert sorted(output["differences"], key=str) == sorted(
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
    code, output = job("--compare")
    assert code == 1
    (found,) = output["differences"]
    assert found["ts_start_of_hour"] == "2021-03-01T05:00:00.000000Z"
    assert found["event_type"] is None
    assert found["counter"] == found["recount"] + 1


# --- into a store ---------------------------------------------------------------------------------


def contents(settings: Settings) -> dict[str, list[Any]]:
    """Everything in both tables, without times of day."""
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


def test_loaded_events_are_stored_as_an_ingest_stores_them(settings: Settings, job: Job) -> None:
    events = awkward_events()
    archive(settings, [*events, *events[::2]])
    code, output = job("--load-events")
    assert (code, output["is_equal"], output["differences"]) == (0, True, [])
    loaded = contents(settings)

    again = settings.model_copy(
        update={"dynamodb_events_table_name": settings.dynamodb_events_table_name + "-ingested"}
    )
    service = make_service(again)
    service.ingest(events)
    assert loaded == contents(again)
    service.close()


def test_loaded_counts_without_events_equal_the_recount(
    settings: Settings, job: Job, store: DynamoStore
) -> None:
    events = many_events(100, customers=3)
    archive(settings, events)
    code, output = job("--load")
    assert (code, output["is_equal"], output["customers"]) == (0, True, 3)
    assert store.customers(prefix="", after=None, limit=9) == [
        f"customer-{number}" for number in range(3)
    ]
    assert list(store.counted_events("customer-0", days_between(None, None))) == []


def test_a_load_into_tables_that_are_not_empty_is_refused(
    settings: Settings, job: Job, service: EventService
) -> None:
    archive(settings, many_events(5))
    service.ingest([event()])
    before = contents(settings)
    code, output = job("--load-events")
    assert code == 2
    assert "is not empty" in output
    assert contents(settings) == before


def test_an_interrupted_load_resumes_with_its_snapshot(settings: Settings, job: Job) -> None:
    events = many_events(60, customers=3)
    archive(settings, events)
    window = days_between(None, None)
    with opened_session("tests", settings) as spark:
        plan = recount.begun_plan(spark, settings, window, has_events=True)
    loader = make_bulk_loader(settings)
    at = loader.begin(json.dumps(plan))
    loader.put_events(events[:10], at)
    with pytest.raises(StoreRefused, match="another load"):
        loader.begin("something else")
    loader.close()
    # Events that are archived meanwhile belong to the next load, or to the consumer.
    archive(settings, [event("later")])

    code, output = job("--load-events")
    assert (code, output["events"], output["is_equal"]) == (0, 60, True)


def test_an_empty_sqlite_store_is_loaded_and_compared(
    settings: Settings, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = awkward_events()
    archive(settings, [*events, *events[::2]])
    url = f"sqlite:///{tmp_path}/events.db"
    monkeypatch.setenv("EVENTS_DATABASE_URL", url)

    code, output = job("--load-events")
    assert (code, output["is_equal"], output["differences"]) == (0, True, [])
    with closing(SqlStore(url, retry=RetryPolicy(10))) as sql:
        assert SqlTables(sql).contents() == expected_contents(events)
        sql.write([event("extra", customer_id="extra")])
    assert job("--load-events")[0] == 2, "the store is not empty"
    code, output = job("--compare")
    assert (code, len(output["differences"])) == (1, 2)


def test_spark_and_pyiceberg_read_the_same_tables(
    settings: Settings, spark: SparkSession, job: Job
) -> None:
    archive(settings, many_events(10))
    job()
    catalog = open_archive(settings)
    assert sorted(catalog.list_tables("events")) == [("events", "hourly_counts"), ("events", "raw")]
    catalog.close()
    assert spark.table(f"{settings.iceberg_catalog_name}.events.raw").count() == 10


def test_days_before_the_gregorian_calendar_are_not_shifted(settings: Settings, job: Job) -> None:
    midnight = datetime(1500, 1, 1, tzinfo=UTC)
    events = [event("t", timestamp=midnight + day * DAY) for day in range(3)]
    archive(settings, events)
    assert job("--start", "1500-01-02", "--end", "1500-01-03") == (0, {"events": 1})
    assert hour_counts_of(settings) == hourly(events[1:2])
    assert job() == (0, {"events": 3})
    assert job("--start", "1500-01-02", "--end", "1500-01-03") == (0, {"events": 1})
    assert hour_counts_of(settings) == hourly(events)


def test_an_error_in_spark_is_not_reported_as_a_difference(settings: Settings, job: Job) -> None:
    archive(settings, many_events(3))
    for file in Path(settings.iceberg_folder).rglob("*.parquet"):
        file.unlink()
    code, output = job("--compare")
    assert code == 2
    assert "NotFoundException" in output


def test_an_option_without_effect_is_refused(job: Job) -> None:
    code, output = job("--to-store")
    assert code == 2
    assert "--to-store needs --restore-windowed" in output
