"""Buckets as CSV, JSON Lines and Parquet."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.support.api import DAY_ONE, Api, all_pages, bad_request, bucket, problem, settled
from tests.support.factories import HOUR, HOUR_ZERO, event, time_text

MARCH = "start=2021-03-01&end=2021-04-01"
CSV, JSON = "text/csv; charset=utf-8", "application/json"
#: Types that a spreadsheet would run as a formula, and some that only look like one.
FORMULAS = ["+1", "-1", "1=1", "=1+1", "@x", 'a"b', "a,b", "a=1"]


@pytest.fixture
def acme(api: Api) -> Api:
    """An API with three events in two hours, one of them partial in `CUT`."""
    hours = (0, 0.5, 18.5)
    api.service.ingest(
        [event(f"t-{hour}", timestamp=HOUR_ZERO + hour * HOUR, event_type="a") for hour in hours]
    )
    return api


# --- CSV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "headers"),
    [
        pytest.param("&format=csv", {}, id="by parameter"),
        pytest.param("", {"accept": "text/csv"}, id="by header"),
        pytest.param("&format=csv", {"accept": "application/json"}, id="parameter before header"),
    ],
)
def test_csv(acme: Api, option: str, headers: dict[str, str]) -> None:
    response = acme.buckets(f"start=2021-03-01T00:15:00Z&end=2021-03-02{option}", **headers)
    assert response.status_code == 200
    assert response.text == (
        "ts_start_of_hour,count,partial\n"
        "2021-03-01T00:00:00.000000Z,1,true\n"
        "2021-03-01T18:00:00.000000Z,1,false\n"
    )
    assert {
        name: value
        for name, value in response.headers.items()
        if name not in ("content-length", "x-request-id")
    } == {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "content-type": CSV,
        "content-disposition": 'attachment; filename="buckets.csv"',
        "vary": "Accept",
    }


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/csv", CSV),
        ("TEXT/CSV; charset=utf-8", CSV),
        ("text/html, text/csv", CSV),
        ("text/csv, */*;q=0.1", CSV),
        ("application/json, text/csv", JSON),
        ("*/*", JSON),
        ("", JSON),
        ("text/html", JSON),
        ("text/csvx", JSON),
        ("application/x-ndjson", "application/x-ndjson"),
    ],
)
def test_the_accept_header_chooses_the_format(acme: Api, accept: str, media_type: str) -> None:
    response = acme.buckets(DAY_ONE, accept=accept)
    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    assert response.headers["vary"] == "Accept"
    forced = acme.buckets(f"{DAY_ONE}&format=json", accept=accept)
    assert forced.headers["content-type"] == JSON


def test_an_error_is_a_problem_in_every_format(api: Api) -> None:
    response = api.buckets("start=2021-03-01&format=csv", accept="text/csv")
    assert problem(response) == bad_request(end="is missing")


def test_no_csv_cell_is_run_as_a_formula(api: Api) -> None:
    api.service.ingest([event(f"t-{name}", event_type=name) for name in FORMULAS])
    hour = "2021-03-01T00:00:00.000000Z"
    assert api.buckets(f"{DAY_ONE}&format=csv&group_by=event_type").text == (
        "ts_start_of_hour,event_type,count,partial\n"
        f"{hour},'+1,1,false\n"
        f"{hour},'-1,1,false\n"
        f"{hour},1=1,1,false\n"
        f"{hour},'=1+1,1,false\n"
        f"{hour},'@x,1,false\n"
        f'{hour},"a""b",1,false\n'
        f'{hour},"a,b",1,false\n'
        f"{hour},a=1,1,false\n"
    )
    # JSON has no such danger: the types are unchanged.
    counts = dict.fromkeys(sorted(FORMULAS), 1)
    body = settled(api.buckets(f"{DAY_ONE}&group_by=event_type"))
    assert body["buckets"] == [bucket("2021-03-01T00", 8, counts=counts)]


@pytest.mark.parametrize("grouping", ["", "&group_by=event_type"])
def test_filled_csv_has_every_hour(acme: Api, grouping: str) -> None:
    query = f"start=2021-03-01&end=2021-03-01T06:00:00Z&fill=zero&format=csv{grouping}"
    rows = list(csv.DictReader(acme.buckets(query).text.splitlines()))
    assert [row["ts_start_of_hour"] for row in rows] == [
        time_text(HOUR_ZERO + hour * HOUR) for hour in range(6)
    ]
    assert [row["count"] for row in rows] == ["2", *"00000"]


def test_filled_lines_by_type_have_every_type_and_no_empty_one(api: Api) -> None:
    api.service.ingest([event("t-1", event_type="a"), event("t-2", event_type="b")])
    query = "start=2021-03-01&end=2021-03-01T02:00:00Z&fill=zero&group_by=event_type"
    first, second = (f"2021-03-01T0{hour}:00:00.000000Z" for hour in (0, 1))
    header = "ts_start_of_hour,event_type,count,partial\n"
    assert api.buckets(f"{query}&format=csv").text == (
        f"{header}{first},a,1,false\n{first},b,1,false\n{second},a,0,false\n{second},b,0,false\n"
    )
    lines = api.buckets(f"{query}&format=jsonl").text.splitlines()
    assert json.loads(lines[1])["counts"] == {"a": 0, "b": 0}
    empty = query.replace("2021", "2020")
    assert api.buckets(f"{empty}&format=csv").text == header


def test_csv_of_days_has_both_ends(acme: Api) -> None:
    query = f"{MARCH}&window=day&timezone=Asia/Kolkata&format=csv&limit=1"
    response = acme.buckets(query)
    first, second = (f"2021-03-0{day}T00:00:00.000000+05:30" for day in (1, 2))
    assert response.text == f"start,end,count,partial\n{first},{second},2,false\n"
    assert response.headers["link"].startswith("<?")


# --- whole ranges ---------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"accept": "application/x-ndjson"}])
@pytest.mark.parametrize(
    "query", [MARCH, f"{MARCH}&group_by=event_type&window=day&timezone=Asia/Kolkata&fill=zero"]
)
def test_json_lines_are_the_buckets(acme: Api, query: str, headers: dict[str, str]) -> None:
    response = acme.buckets(query + ("" if headers else "&format=jsonl"), **headers)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["content-disposition"] == 'attachment; filename="buckets.jsonl"'
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert lines == settled(acme.buckets(query))["buckets"]


def test_json_lines_of_nothing_are_empty(api: Api) -> None:
    response = api.buckets(f"{MARCH}&format=jsonl")
    assert (response.status_code, response.content) == (200, b"")


def test_an_export_has_all_pages(api: Api) -> None:
    api.service.ingest(
        [event(f"t-{hour}", timestamp=HOUR_ZERO + hour * HOUR) for hour in range(1_500)]
    )
    query = "start=2021-01-01&end=2022-01-01"
    response = api.buckets(f"{query}&format=jsonl")
    pages = list(all_pages(api, query))
    assert [len(page["buckets"]) for page in pages] == [1_000, 500]
    assert [json.loads(line) for line in response.text.splitlines()] == [
        bucket for page in pages for bucket in page["buckets"]
    ]


def test_parquet_has_the_same_counts(acme: Api) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    query = f"{MARCH}&window=day&timezone=Asia/Kolkata&group_by=event_type"
    response = acme.buckets(f"{query}&format=parquet")
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
        (row["start"].isoformat(timespec="microseconds"), row["event_type"], row["count"])
        for row in table.to_pylist()
    ]
    assert rows == [
        (bucket["start"], event_type, count)
        for bucket in settled(acme.buckets(query))["buckets"]
        for event_type, count in bucket["counts"].items()
    ]


def test_parquet_of_nothing_has_its_columns(api: Api) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    table = parquet.read_table(io.BytesIO(api.buckets(f"{MARCH}&format=parquet").content))
    assert (table.num_rows, table.column_names) == (0, ["ts_start_of_hour", "count", "partial"])
