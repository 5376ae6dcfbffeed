"""The API on the counts of a stream: whole hours, read only, and the answer says what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from events.app import create_app
from events.bootstrap import make_bulk_loader, make_client, open_store
from events.cli.main import main
from events.config import Settings
from events.errors import InvalidWindow, NotAllowed
from events.models import DayCounts, Window
from tests.support.factories import HOUR, HOUR_ZERO, MICROSECOND, event
from tests.support.served import client_of

AT = datetime(2021, 3, 5, tzinfo=UTC)
BUCKETS = "/events/customers/acme/buckets"
DAY = {"start": "2021-03-01", "end": "2021-03-02"}


@pytest.fixture(params=["dynamodb", "sqlite"])
def windowed(
    request: pytest.FixtureRequest, settings: Settings, tmp_path: Path
) -> Iterator[Settings]:
    """Settings whose windowed counts are three events in one hour and four in another."""
    is_sqlite = request.param == "sqlite"
    windowed = settings.model_copy(
        update={
            "events_counts": "windowed",
            "events_watermark_seconds": 7_200,
            "events_database_url": f"sqlite:///{tmp_path}/events.db" if is_sqlite else "",
        }
    )
    loader = make_bulk_loader(windowed, is_windowed=True)
    loader.create_tables()
    loader.put_customers(["acme"], AT)
    loader.set_hours(
        [
            DayCounts("acme", "2021-03-01", None, {0: 1, 5: 4}),
            DayCounts("acme", "2021-03-01", "api_call", {0: 1, 5: 4}),
            # An hour is put as it is by now, and the others stay.
            DayCounts("acme", "2021-03-01", None, {0: 3}),
            DayCounts("acme", "2021-03-01", "api_call", {0: 3}),
        ],
        AT,
    )
    loader.close()
    yield windowed
    if is_sqlite:
        return
    client = make_client(settings)
    for suffix in ("", "_hourly_counts"):
        client.delete_table(TableName=f"{settings.dynamodb_events_table_name}_windowed{suffix}")
    client.close()


@pytest.fixture
def api(windowed: Settings) -> Iterator[TestClient]:
    with client_of(create_app(windowed)) as client:
        yield client


def test_whole_hours(api: TestClient) -> None:
    answer = api.get(BUCKETS, params={**DAY, "group_by": "event_type"})
    assert answer.status_code == 200
    hour = {"partial": False, "ts_start_of_hour": "2021-03-01T00:00:00.000000Z"}
    assert answer.json() == {
        "customer_id": "acme",
        "start": "2021-03-01T00:00:00.000000Z",
        "end": "2021-03-02T00:00:00.000000Z",
        "total": 7,
        "last_ingested_at": "2021-03-05T00:00:00.000000Z",
        "buckets": [
            {**hour, "count": 3, "counts": {"api_call": 3}},
            {
                **hour, "ts_start_of_hour": "2021-03-01T05:00:00.000000Z", "count": 4,
                "counts": {"api_call": 4},
            },
        ],
        "next": None,
        "windowed": {"watermark_seconds": 7_200},
    }  # fmt: skip
    assert api.get("/events/customers").json()["customers"] == [{"customer_id": "acme", "total": 7}]


@pytest.mark.parametrize("form", ["json", "csv", "jsonl", "parquet"])
def test_every_format_has_the_header(api: TestClient, form: str) -> None:
    answer = api.get(BUCKETS, params={**DAY, "format": form})
    assert answer.status_code == 200
    assert answer.headers["Events-Counts"] == "windowed; watermark=7200"


def test_totals_have_the_header_and_exact_answers_do_not(
    api: TestClient, windowed: Settings
) -> None:
    assert api.get("/events/customers").headers["Events-Counts"] == "windowed; watermark=7200"
    with client_of(create_app(windowed.model_copy(update={"events_counts": "exact"}))) as exact:
        for path in ("/events/customers", BUCKETS):
            answer = exact.get(path, params=DAY)
            assert (answer.status_code, answer.headers.get("Events-Counts")) == (200, None)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"start": "2021-03-01T00:30:00Z", "end": "2021-03-02"}, "start"),
        ({"start": "2021-03-01", "end": "2021-03-01T05:00:00.000001Z"}, "end"),
        ({**DAY, "window": "day"}, "window"),
    ],
)
def test_a_part_of_an_hour_is_refused(
    api: TestClient, parameters: dict[str, str], field: str
) -> None:
    answer = api.get(BUCKETS, params=parameters)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_routes_that_write_or_need_events_are_404(api: TestClient) -> None:
    assert api.post("/events", json={"events": []}).status_code in (404, 405)
    for path in ("/", "/events/customers/acme/events", "/events/customers/acme/summary"):
        assert api.get(path, params=DAY).status_code == 404


def test_the_store_refuses_writes_and_raw_events(windowed: Settings) -> None:
    store = open_store(windowed, patience_seconds=5)
    with pytest.raises(NotAllowed):
        store.write([event()])
    with pytest.raises(NotAllowed):
        list(store.counted_events("acme"))
    with pytest.raises(InvalidWindow):
        store.count_events("acme", [Window(HOUR_ZERO, HOUR_ZERO + HOUR - MICROSECOND)])
    assert store.count_events("acme", []) == []
    store.close()


def test_commands_say_that_counts_are_windowed(
    windowed: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in windowed.environment().items():
        monkeypatch.setenv(name, value)
    asked = ["acme", "--start", "2021-03-01", "--end", "2021-03-02"]

    codes = [main([*words, *asked]) for words in (["buckets", "--json"], ["export"])]

    said = capsys.readouterr()
    document, _, csv = said.out.partition("\n")
    assert codes == [0, 0]
    assert json.loads(document)["windowed"] == {"watermark_seconds": 7_200}
    assert csv.splitlines()[1] == "2021-03-01T00:00:00.000000Z,3,false"
    assert said.err == 2 * (
        "note: these are approximate streaming counts. An event that is more than 7,200 s "
        "older than the newest one is not counted\n"
    )
