"""Days, weeks and months, exports and summaries over HTTP, on a real database."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from events.config import Settings
from tests.api.test_api import (
    AT,
    STORE_DOWN,
    Api,
    Json,
    bad_request,
    bucket,
    cursor,
    problem,
    serving,
    serving_fresh_tables,
    settled,
)
from tests.support.database import Database
from tests.support.factories import HOUR, HOUR_ZERO, event

#: Around the midnights of Kolkata (18:30 UTC) and Berlin, and the day of 23 hours there.
ACME = [
    event(f"t-{place}", timestamp=HOUR_ZERO + hours * HOUR, event_type=kind)
    for place, (hours, kind) in enumerate(
        [
            (0, "call"),
            (18.25, "login"),
            (18.5, "call"),
            (18.75, "=1+1"),
            (26 * 24 + 23, "call"),  # 28 March, 00:00 in Berlin
            (27 * 24 + 21.5, "call"),  # 28 March, 23:30 there: its 23rd hour
            (27 * 24 + 22, "login"),  # 29 March, 00:00 there
        ]
    )
]
MARCH = "start=2021-03-01&end=2021-04-01"


@pytest.fixture(scope="module")
def api(database: Database) -> Iterator[Api]:
    with serving_fresh_tables(database) as api:
        api.service.ingest(ACME)
        yield api


def period(start: str, end: str, count: int, **more: object) -> Json:
    """A bucket of a zone, its times like `2021-03-28T00:00+01:00`."""
    full = [f"{at[:16]}:00.000000{at[16:]}" for at in (start, end)]
    return {"start": full[0], "end": full[1], "count": count, "partial": False, **more}


BERLIN_DAYS = [
    period("2021-03-01T00:00+01:00", "2021-03-02T00:00+01:00", 4, partial=True),
    period("2021-03-28T00:00+01:00", "2021-03-29T00:00+02:00", 2),
    period("2021-03-29T00:00+02:00", "2021-03-30T00:00+02:00", 1),
]


def test_days_of_a_zone_are_told_with_their_offsets(api: Api) -> None:
    assert settled(api.buckets(f"{MARCH}&window=day&timezone=Europe/Berlin")) == {
        "customer_id": "acme",
        "start": "2021-03-01T00:00:00.000000Z",
        "end": "2021-04-01T00:00:00.000000Z",
        "window": "day",
        "timezone": "Europe/Berlin",
        "total": 7,
        "last_ingested_at": AT,
        "buckets": BERLIN_DAYS,
        "next": None,
    }


@pytest.mark.parametrize(
    ("query", "buckets"),
    [
        pytest.param(
            "window=day",
            [
                period("2021-03-01T00:00+00:00", "2021-03-02T00:00+00:00", 4),
                period("2021-03-27T00:00+00:00", "2021-03-28T00:00+00:00", 1),
                period("2021-03-28T00:00+00:00", "2021-03-29T00:00+00:00", 2),
            ],
            id="days, in UTC where no zone is named",
        ),
        pytest.param(
            "window=day&timezone=Asia/Kolkata&end=2021-03-02",
            [
                period("2021-03-01T00:00+05:30", "2021-03-02T00:00+05:30", 2, partial=True),
                period("2021-03-02T00:00+05:30", "2021-03-03T00:00+05:30", 2, partial=True),
            ],
            id="midnights inside a UTC hour",
        ),
        pytest.param(
            "window=week&timezone=Europe/Berlin",
            [
                period("2021-03-01T00:00+01:00", "2021-03-08T00:00+01:00", 4, partial=True),
                period("2021-03-22T00:00+01:00", "2021-03-29T00:00+02:00", 2),
                period("2021-03-29T00:00+02:00", "2021-04-05T00:00+02:00", 1, partial=True),
            ],
            id="weeks",
        ),
        pytest.param(
            "window=month&timezone=Europe/Berlin&group_by=event_type&fill=zero&end=2021-05-01",
            [
                period(
                    "2021-03-01T00:00+01:00", "2021-04-01T00:00+02:00", 7,
                    partial=True, counts={"=1+1": 1, "call": 4, "login": 2},
                ),
                period("2021-04-01T00:00+02:00", "2021-05-01T00:00+02:00", 0, counts={}),
                period(
                    "2021-05-01T00:00+02:00", "2021-06-01T00:00+02:00", 0, partial=True, counts={}
                ),
            ],
            id="months by type, also those without events",
        ),
        pytest.param(
            "window=day&timezone=Asia/Kolkata&event_type=login&end=2021-03-03",
            [period("2021-03-01T00:00+05:30", "2021-03-02T00:00+05:30", 1, partial=True)],
            id="one type alone",
        ),
    ],
)  # fmt: skip
def test_any_window_of_any_zone_may_be_asked_for(api: Api, query: str, buckets: list[Json]) -> None:
    start = "start=2021-03-01" + ("" if "end=" in query else "&end=2021-04-01")
    body = settled(api.buckets(f"{start}&{query}"))
    assert body["buckets"] == buckets
    assert body["total"] == sum(each["count"] for each in buckets)


def test_pages_of_days_together_are_the_one_page(api: Api) -> None:
    query = f"{MARCH}&window=day&timezone=Europe/Berlin&limit=1"
    pages = [settled(api.buckets(query))]
    while pages[-1]["next"]:
        pages.append(settled(api.buckets(f"{query}&cursor={pages[-1]['next']}")))
    assert [each for page in pages for each in page["buckets"]] == BERLIN_DAYS
    assert [page["total"] for page in pages] == [7, 7, 7]


def test_days_are_csv_where_it_is_asked_for_and_its_pages_are_linked(api: Api) -> None:
    query = f"{MARCH}&window=day&timezone=Asia/Kolkata&group_by=event_type&format=csv&limit=2"
    response = api.buckets(query)
    first, second, third = (f"2021-03-0{day}T00:00:00.000000+05:30" for day in (1, 2, 3))
    assert response.text == (
        "start,end,event_type,count,partial\n"
        f"{first},{second},call,1,true\n"
        f"{first},{second},login,1,true\n"
        f"{second},{third},'=1+1,1,false\n"
        f"{second},{third},call,1,false\n"
    )
    assert response.headers["link"].startswith("<?")


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("window=year", {"window": "input should be 'hour', 'day', 'week' or 'month'"}),
        (
            "window=day&timezone=Mars/Olympus",
            {
                "timezone": "unknown time zone 'Mars/Olympus': use an IANA name such as "
                "Europe/Berlin or UTC"
            },
        ),
        (
            "window=day&timezone=../etc/passwd",
            {"timezone": "is no IANA time zone such as Europe/Berlin or UTC"},
        ),
        (
            "timezone=Europe/Berlin",
            {"timezone": "goes only with window=day, week or month: hours are UTC hours"},
        ),
        (
            f"window=day&cursor={cursor('2021-03-01T01:00:00.000000Z')}",
            {"cursor": "is no window of this range: use `next` as it was given"},
        ),
        ("format=jsonl&limit=5", {"limit": "jsonl gives the whole window: leave it out"}),
        (
            f"format=parquet&cursor={cursor('2021-03-01T00:00:00.000000Z')}",
            {"cursor": "parquet gives the whole window: leave it out"},
        ),
    ],
)
def test_a_wrong_window_is_named_with_what_is_wrong(
    api: Api, query: str, errors: dict[str, str]
) -> None:
    assert problem(api.buckets(f"{MARCH}&{query}")) == bad_request(**errors)


# --- exports --------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"accept": "application/x-ndjson"}])
def test_json_lines_are_the_buckets_of_the_whole_window(api: Api, headers: dict[str, str]) -> None:
    for query in (MARCH, f"{MARCH}&group_by=event_type&window=day&timezone=Asia/Kolkata&fill=zero"):
        form = "" if headers else "&format=jsonl"
        response = api.buckets(f"{query}{form}", **headers)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        assert response.headers["content-disposition"] == 'attachment; filename="buckets.jsonl"'
        lines = [json.loads(line) for line in response.text.splitlines()]
        assert lines == settled(api.buckets(query))["buckets"]


def test_an_export_of_nothing_is_empty(api: Api) -> None:
    response = api.buckets(f"{MARCH}&format=jsonl", customer_id="nobody")
    assert (response.status_code, response.content) == (200, b"")


def test_an_export_is_whole_where_a_page_would_not_be(api: Api) -> None:
    events = [
        event(f"t-{hour}", customer_id="busy", timestamp=HOUR_ZERO + hour * HOUR)
        for hour in range(1_500)
    ]
    api.service.ingest(events)
    response = api.buckets("start=2021-01-01&end=2022-01-01&format=jsonl", customer_id="busy")
    assert [json.loads(line) for line in response.text.splitlines()] == [
        bucket(each.timestamp.isoformat()[:13], 1) for each in events
    ]


def test_parquet_has_the_same_counts_in_columns(api: Api) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    query = f"{MARCH}&window=day&timezone=Asia/Kolkata&group_by=event_type"
    response = api.buckets(f"{query}&format=parquet")
    assert response.headers["content-type"] == "application/vnd.apache.parquet"
    table = parquet.read_table(io.BytesIO(response.content))
    assert {field.name: str(field.type) for field in table.schema} == {
        "start": "timestamp[us, tz=Asia/Kolkata]",
        "end": "timestamp[us, tz=Asia/Kolkata]",
        "event_type": "string",
        "count": "int64",
        "partial": "bool",
    }
    rows = [
        (each["start"].isoformat(timespec="microseconds"), each["event_type"], each["count"])
        for each in table.to_pylist()
    ]
    assert rows == [
        (each["start"], kind, count)
        for each in settled(api.buckets(query))["buckets"]
        for kind, count in each["counts"].items()
    ]


def test_parquet_of_nothing_has_its_columns(api: Api) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    response = api.buckets(f"{MARCH}&format=parquet", customer_id="nobody")
    table = parquet.read_table(io.BytesIO(response.content))
    assert (table.num_rows, table.column_names) == (0, ["ts_start_of_hour", "count", "partial"])


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_store_that_is_down_is_a_503_also_for_an_export(form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    # Nothing listens at port 1.
    settings = Settings.model_construct(
        dynamodb_endpoint_url="http://127.0.0.1:1", events_store_patience_seconds=0
    )
    with serving(settings) as api:
        for query in (MARCH, f"{MARCH}&window=month"):
            assert problem(api.buckets(f"{query}&format={form}")) == STORE_DOWN


# --- summaries ------------------------------------------------------------------------------------


def test_a_summary_tells_what_there_is_of_a_customer(api: Api) -> None:
    path = "/events/customers/acme/summary"
    assert settled(api.get(path)) == {
        "customer_id": "acme",
        "start": None,
        "end": None,
        "total": 7,
        "by_type": {"=1+1": 1, "call": 4, "login": 2},
        "first_event_at": "2021-03-01T00:00:00.000000Z",
        "last_event_at": "2021-03-28T22:00:00.000000Z",
        "busiest_hour": bucket("2021-03-01T18", 3),
        "last_ingested_at": AT,
    }
    assert settled(api.get(f"{path}?start=2021-03-01T18:30:00Z&end=2021-03-28")) == {
        "customer_id": "acme",
        "start": "2021-03-01T18:30:00.000000Z",
        "end": "2021-03-28T00:00:00.000000Z",
        "total": 3,
        "by_type": {"=1+1": 1, "call": 2},
        "first_event_at": "2021-03-01T18:30:00.000000Z",
        "last_event_at": "2021-03-27T23:00:00.000000Z",
        "busiest_hour": bucket("2021-03-01T18", 2, partial=True),
        "last_ingested_at": AT,
    }


def test_a_summary_of_an_unknown_customer_is_empty(api: Api) -> None:
    assert settled(api.get("/events/customers/nobody/summary")) == {
        "customer_id": "nobody",
        "start": None,
        "end": None,
        "total": 0,
        "by_type": {},
        "first_event_at": None,
        "last_event_at": None,
        "busiest_hour": None,
        "last_ingested_at": None,
    }
