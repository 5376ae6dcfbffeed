"""Days, weeks and months of a time zone."""

from __future__ import annotations

import pytest

from tests.support.api import (
    AT,
    INVALID_CURSOR,
    Api,
    Json,
    all_pages,
    bad_request,
    cursor_of,
    problem,
    settled,
)
from tests.support.factories import HOUR, HOUR_ZERO, event

#: Around midnight in Kolkata (18:30 UTC) and in Berlin, and on Berlin's day of 23 hours.
ACME = [
    event(f"t-{index}", timestamp=HOUR_ZERO + hours * HOUR, event_type=event_type)
    for index, (hours, event_type) in enumerate(
        [
            (0, "call"),
            (18.25, "login"),
            (18.5, "call"),
            (18.75, "=1+1"),
            (26 * 24 + 23, "call"),  # 28 March, 00:00 in Berlin
            (27 * 24 + 21.5, "call"),  # 28 March, 23:30 in Berlin: its 23rd hour
            (27 * 24 + 22, "login"),  # 29 March, 00:00 in Berlin
        ]
    )
]
MARCH = "start=2021-03-01T00:00:00Z&end=2021-04-01T00:00:00Z"
#: In Kolkata.
MARCH_1, MARCH_2, MARCH_3 = (f"2021-03-0{day}T00:00+05:30" for day in (1, 2, 3))


@pytest.fixture
def acme(api: Api) -> Api:
    """An API whose store has `ACME`."""
    api.service.ingest(ACME)
    return api


def period(start: str, end: str, count: int, **more: object) -> Json:
    """A bucket of a zone; its times are like `2021-03-28T00:00+01:00`."""
    full = [f"{at[:16]}:00.000000{at[16:]}" for at in (start, end)]
    return {"start": full[0], "end": full[1], "count": count, "partial": False, **more}


NONE = {"=1+1": 0, "call": 0, "login": 0}
BERLIN_DAYS = [
    period("2021-03-01T00:00+01:00", "2021-03-02T00:00+01:00", 4, partial=True),
    period("2021-03-28T00:00+01:00", "2021-03-29T00:00+02:00", 2),
    period("2021-03-29T00:00+02:00", "2021-03-30T00:00+02:00", 1),
]


def test_days_have_the_offsets_of_their_zone(acme: Api) -> None:
    query = f"{MARCH}&window=day&timezone=Europe/Berlin"
    assert settled(acme.buckets(query)) == {
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
    pages = list(all_pages(acme, f"{query}&limit=1"))
    assert [bucket for page in pages for bucket in page["buckets"]] == BERLIN_DAYS
    assert [page["total"] for page in pages] == [7, 7, 7]


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
            id="days of UTC by default",
        ),
        pytest.param(
            "window=day&timezone=Asia/Kolkata&end=2021-03-02T00:00:00Z",
            [
                period("2021-03-01T00:00+05:30", "2021-03-02T00:00+05:30", 2, partial=True),
                period("2021-03-02T00:00+05:30", "2021-03-03T00:00+05:30", 2, partial=True),
            ],
            id="midnight inside a UTC hour",
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
            "window=month&timezone=Europe/Berlin&group_by=event_type&fill=zero&end=2021-05-01T00:00:00Z",
            [
                period(
                    "2021-03-01T00:00+01:00", "2021-04-01T00:00+02:00", 7,
                    partial=True, counts={"=1+1": 1, "call": 4, "login": 2},
                ),
                period("2021-04-01T00:00+02:00", "2021-05-01T00:00+02:00", 0, counts=NONE),
                period(
                    "2021-05-01T00:00+02:00", "2021-06-01T00:00+02:00", 0, partial=True, counts=NONE
                ),
            ],
            id="months by type, filled",
        ),
        pytest.param(
            "window=day&timezone=Asia/Kolkata&event_type=login&end=2021-03-03T00:00:00Z",
            [period("2021-03-01T00:00+05:30", "2021-03-02T00:00+05:30", 1, partial=True)],
            id="one type",
        ),
        pytest.param(
            "window=day&timezone=Asia/Kolkata&start=2021-03-01&end=2021-03-03",
            [period(MARCH_1, MARCH_2, 2), period(MARCH_2, MARCH_3, 2)],
            id="dates alone are days of the zone",
        ),
        pytest.param(
            "timezone=Asia/Kolkata&start=2021-03-01T23:45:00%2B05:30&end=2021-03-03",
            [
                period("2021-03-01T23:00+05:30", MARCH_2, 1, partial=True),
                period(MARCH_2, "2021-03-02T01:00+05:30", 2),
            ],
            id="hours of a zone",
        ),
        pytest.param(
            "window=hour&timezone=Europe/Berlin&start=2021-03-28&end=2021-03-30",
            [
                period("2021-03-28T00:00+01:00", "2021-03-28T01:00+01:00", 1),
                period("2021-03-28T23:00+02:00", "2021-03-29T00:00+02:00", 1),
                period("2021-03-29T00:00+02:00", "2021-03-29T01:00+02:00", 1),
            ],
            id="hours with the offset of the zone",
        ),
    ],
)  # fmt: skip
def test_windows_and_zones(acme: Api, query: str, buckets: list[Json]) -> None:
    if "start=" not in query:
        query += "&start=2021-03-01T00:00:00Z"
    if "end=" not in query:
        query += "&end=2021-04-01T00:00:00Z"
    body = settled(acme.buckets(query))
    assert body["buckets"] == buckets
    assert body["total"] == sum(bucket["count"] for bucket in buckets)


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
            {
                "timezone": "unknown time zone '../etc/passwd': use an IANA name such as "
                "Europe/Berlin or UTC"
            },
        ),
        (
            f"window=day&cursor={cursor_of('2021-03-01T01:00:00.000000Z')}",
            {"cursor": INVALID_CURSOR},
        ),
        ("format=jsonl&limit=5", {"limit": "omit it: jsonl gives the whole range"}),
        (
            f"format=parquet&cursor={cursor_of('2021-03-01T00:00:00.000000Z')}",
            {"cursor": "omit it: parquet gives the whole range"},
        ),
    ],
)
def test_an_invalid_parameter_is_named(api: Api, query: str, errors: dict[str, str]) -> None:
    assert problem(api.buckets(f"{MARCH}&{query}")) == bad_request(**errors)
