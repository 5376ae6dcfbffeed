"""GET .../buckets by hour: ranges, types, filling, and any question against a count by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from events.models import Event
from tests.support.api import AT, DAY_ONE, Api, Json, answer, bad_request, bucket, problem, settled
from tests.support.factories import DAY, HOUR, HOUR_ZERO, MICROSECOND, event, many_events, time_text

MINUTE = timedelta(minutes=1)
ACME = [
    event("t-1", timestamp=HOUR_ZERO),
    event("t-2", timestamp=HOUR_ZERO + 15 * MINUTE, event_type="sign-in"),
    event("t-3", timestamp=HOUR_ZERO + HOUR - MICROSECOND),
    event("t-4", timestamp=HOUR_ZERO + HOUR),
    event("t-5", timestamp=HOUR_ZERO + 5 * HOUR + 30 * MINUTE, event_type="a/b"),
    event("t-6", timestamp=HOUR_ZERO + DAY - MICROSECOND),
    event("t-7", timestamp=HOUR_ZERO + DAY),
]
DAY_ONE_BUCKETS = [
    bucket("2021-03-01T00", 3),
    bucket("2021-03-01T01", 1),
    bucket("2021-03-01T05", 1),
    bucket("2021-03-01T23", 1),
]


@pytest.fixture
def acme(api: Api) -> Api:
    """An API whose store has `ACME`."""
    api.service.ingest(ACME)
    return api


# --- ranges ---------------------------------------------------------------------------------------


def test_a_day_has_the_hours_with_events(acme: Api) -> None:
    response = acme.buckets("start=2021-03-01T00:00:00Z&end=2021-03-02T00:00:00Z")
    assert settled(response) == {
        "customer_id": "acme",
        "start": "2021-03-01T00:00:00.000000Z",
        "end": "2021-03-02T00:00:00.000000Z",
        "total": 6,
        "last_ingested_at": AT,
        "buckets": [
            {"ts_start_of_hour": "2021-03-01T00:00:00.000000Z", "count": 3, "partial": False},
            {"ts_start_of_hour": "2021-03-01T01:00:00.000000Z", "count": 1, "partial": False},
            {"ts_start_of_hour": "2021-03-01T05:00:00.000000Z", "count": 1, "partial": False},
            {"ts_start_of_hour": "2021-03-01T23:00:00.000000Z", "count": 1, "partial": False},
        ],
        "next": None,
    }
    assert response.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("start", "end", "buckets"),
    [
        pytest.param(
            "2021-03-01T00:15",
            "2021-03-01T05:45",
            [
                bucket("2021-03-01T00", 2, partial=True),
                bucket("2021-03-01T01", 1),
                bucket("2021-03-01T05", 1, partial=True),
            ],
            id="partial at both ends",
        ),
        pytest.param(
            "2021-03-01T00:15",
            "2021-03-01T00:59",
            [bucket("2021-03-01T00", 1, partial=True)],
            id="both ends inside one hour",
        ),
        pytest.param(
            "2021-03-01T00:00",
            "2021-03-01T00:15",
            [bucket("2021-03-01T00", 1, partial=True)],
            id="the end is excluded",
        ),
        pytest.param("2021-03-01T00:16", "2021-03-01T00:59", [], id="part of an hour, no events"),
        pytest.param("2021-03-01T02:30", "2021-03-01T03:30", [], id="hours without events"),
        pytest.param("2021-03-01T00:00", "2021-03-01T00:00", [], id="empty"),
        pytest.param("2021-03-01T00:15", "2021-03-01T00:15", [], id="empty, inside an hour"),
        pytest.param(
            "2021-03-01T01:00", "2021-03-01T02:00", [bucket("2021-03-01T01", 1)], id="one hour"
        ),
        pytest.param(
            "2021-03-01T23:30",
            "2021-03-02T00:30",
            [bucket("2021-03-01T23", 1, partial=True), bucket("2021-03-02T00", 1, partial=True)],
            id="two partial hours across midnight",
        ),
        pytest.param(
            "2021-03-01T00:59:59.999999Z",
            "2021-03-01T01:00:00.000001Z",
            [bucket("2021-03-01T00", 1, partial=True), bucket("2021-03-01T01", 1, partial=True)],
            id="two microseconds",
        ),
        pytest.param(
            "0001-01-01T00:00",
            "9999-12-31T23:59:59.999999Z",
            [*DAY_ONE_BUCKETS, bucket("2021-03-02T00", 1)],
            id="all of time",
        ),
    ],
)
def test_a_range_includes_its_start_and_excludes_its_end(
    acme: Api, start: str, end: str, buckets: list[Json]
) -> None:
    query = "&".join(
        f"{name}={at if at.endswith('Z') else f'{at}:00Z'}"
        for name, at in (("start", start), ("end", end))
    )
    at = None if start == end else AT
    assert settled(acme.buckets(query)) == answer(start, end, buckets, last_ingested_at=at)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2021-03-01", "2021-03-02"),
        ("2021-03-01T00:00", "2021-03-02T00:00:00"),
        ("2021-03-01 00:00:00Z", "2021-03-02%2000:00:00Z"),
        ("2021-03-01+00:00:00Z", "2021-03-02T00:00:00.000000%2B00:00"),
        ("2021-03-01T01:00:00%2B01:00", "2021-03-02T01:00:00%2B01"),
        ("2021-03-01T05:30:00%2B0530", "2021-03-01T12:00:00-12:00"),
        ("2021-03-01T00:00:00.0000009Z", "2021-03-02T05:45%2B05:45"),
    ],
)
def test_all_spellings_of_a_range_have_the_same_answer(acme: Api, start: str, end: str) -> None:
    response = acme.buckets(f"start={start}&end={end}")
    assert settled(response) == answer("2021-03-01T00:00", "2021-03-02T00:00", DAY_ONE_BUCKETS)


def test_an_offset_of_half_an_hour_cuts_utc_hours(acme: Api) -> None:
    query = "start=2021-03-01T00:00:00%2B05:30&end=2021-03-02T00:00:00%2B05:30"
    assert settled(acme.buckets(query)) == answer(
        "2021-02-28T18:30", "2021-03-01T18:30", DAY_ONE_BUCKETS[:3]
    )


def test_fill_gives_every_hour(acme: Api) -> None:
    query = "start=2021-03-01T00:30:00Z&end=2021-03-01T05:31:00Z&fill=zero"
    assert settled(acme.buckets(query)) == answer(
        "2021-03-01T00:30",
        "2021-03-01T05:31",
        [
            bucket("2021-03-01T00", 1, partial=True),
            bucket("2021-03-01T01", 1),
            bucket("2021-03-01T02", 0),
            bucket("2021-03-01T03", 0),
            bucket("2021-03-01T04", 0),
            bucket("2021-03-01T05", 1, partial=True),
        ],
    )


def test_fill_gives_at_most_10_000_hours(acme: Api) -> None:
    end = time_text(HOUR_ZERO + 10_000 * HOUR)
    body = settled(acme.buckets(f"start=2021-03-01&end={end}&fill=zero&limit=10000"))
    assert [bucket["ts_start_of_hour"] for bucket in body["buckets"]] == [
        time_text(HOUR_ZERO + hour * HOUR) for hour in range(10_000)
    ]
    assert (body["total"], body["next"]) == (7, None)

    end = time_text(HOUR_ZERO + 10_000 * HOUR + MICROSECOND)
    response = acme.buckets(f"start=2021-03-01&end={end}&fill=zero&limit=10000")
    assert problem(response) == bad_request(
        fill="fill=zero gives at most 10,000 hours, and this range has 10,001: "
        "shorten the range or omit fill"
    )


def test_an_unknown_customer_has_no_buckets(api: Api) -> None:
    assert settled(api.buckets(DAY_ONE, customer_id="nobody")) == answer(
        "2021-03-01T00:00", "2021-03-02T00:00", [], customer_id="nobody", last_ingested_at=None
    )


def test_thirty_years_of_a_quiet_customer_are_one_answer(api: Api) -> None:
    years = range(1994, 2024)
    api.service.ingest(
        [event(f"t-{year}", timestamp=datetime(year, 7, 1, 12, tzinfo=UTC)) for year in years]
    )
    assert settled(api.buckets("start=1994-01-01&end=2024-01-01")) == answer(
        "1994-01-01T00:00",
        "2024-01-01T00:00",
        [bucket(f"{year}-07-01T12", 1) for year in years],
    )


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "buckets"),
    [
        ("event_type=sign-in", [bucket("2021-03-01T00", 1, partial=True)]),
        (
            "event_type=sign-in&event_type=a/b",
            [bucket("2021-03-01T00", 1, partial=True), bucket("2021-03-01T05", 1, partial=True)],
        ),
        ("event_type=SIGN-IN", []),
        (
            "group_by=event_type",
            [
                bucket("2021-03-01T00", 2, partial=True, counts={"api_call": 1, "sign-in": 1}),
                bucket("2021-03-01T01", 1, counts={"api_call": 1}),
                bucket("2021-03-01T05", 1, partial=True, counts={"a/b": 1}),
            ],
        ),
        (
            "group_by=event_type&event_type=sign-in&fill=zero",
            [
                bucket("2021-03-01T00", 1, partial=True, counts={"sign-in": 1}),
                *(bucket(f"2021-03-01T0{hour}", 0, counts={"sign-in": 0}) for hour in range(1, 5)),
                bucket("2021-03-01T05", 0, partial=True, counts={"sign-in": 0}),
            ],
        ),
    ],
)
def test_types_are_filtered_and_grouped(acme: Api, query: str, buckets: list[Json]) -> None:
    cut = "start=2021-03-01T00:15:00Z&end=2021-03-01T05:31:00Z"
    assert settled(acme.buckets(f"{cut}&{query}")) == answer(
        "2021-03-01T00:15",
        "2021-03-01T05:31",
        buckets,
        last_ingested_at=None if "SIGN-IN" in query else AT,
    )


# --- against a count by hand ----------------------------------------------------------------------


def test_any_question_equals_a_count_by_hand(api: Api) -> None:
    events = many_events(400, seed=7, event_types=3, hours=60)
    api.service.ingest(events)
    rng = random.Random(7)
    for _ in range(60):
        first, last = sorted(
            HOUR_ZERO
            + HOUR * rng.randrange(-3, 63)
            + rng.choice([0 * HOUR, MINUTE * rng.randrange(60), MICROSECOND * rng.randrange(3**14)])
            for _ in range(2)
        )
        types = rng.sample(["type-0", "type-1", "type-2", "type-3"], rng.randrange(4))
        is_grouped, is_filled = rng.random() < 0.5, rng.random() < 0.5
        query = f"start={time_text(first)}&end={time_text(last)}&limit=10000"
        query += "".join(f"&event_type={event_type}" for event_type in types)
        query += "&group_by=event_type" * is_grouped + "&fill=zero" * is_filled
        body = settled(api.buckets(query, customer_id="customer-0"))
        buckets = counted_by_hand(events, first, last, types, is_grouped, is_filled)
        total = sum(bucket["count"] for bucket in buckets)
        assert (body["buckets"], body["total"]) == (buckets, total), query


def counted_by_hand(
    events: Iterable[Event],
    start: datetime,
    end: datetime,
    types: list[str],
    is_grouped: bool,
    is_filled: bool,
) -> list[Json]:
    hours: dict[datetime, Counter[str]] = {}
    hour = start.replace(minute=0, second=0, microsecond=0)
    while is_filled and hour < end:
        hours[hour] = Counter()
        hour += HOUR
    for row in events:
        if start <= row.timestamp < end and (not types or row.event_type in types):
            at = row.timestamp.replace(minute=0, second=0, microsecond=0)
            hours.setdefault(at, Counter())[row.event_type] += 1
    zeros = {name: 0 for counts in hours.values() for name in counts if is_filled}
    return [
        {
            "ts_start_of_hour": time_text(at),
            "count": counts.total(),
            "partial": at < start or end < at + HOUR,
            **({"counts": dict(sorted((zeros | counts).items()))} if is_grouped else {}),
        }
        for at, counts in sorted(hours.items())
    ]


# --- writes ---------------------------------------------------------------------------------------


def test_a_duplicate_changes_nothing_and_a_late_event_does(api: Api) -> None:
    first = event("t-1")
    api.service.ingest([first])
    before = api.buckets(DAY_ONE).json()
    api.service.ingest([first])
    assert api.buckets(DAY_ONE).json() == before

    api.service.ingest([event("t-2")])
    after = api.buckets(DAY_ONE).json()
    assert after["last_ingested_at"] > before["last_ingested_at"]
    assert after == {
        **before,
        "total": 2,
        "buckets": [bucket("2021-03-01T00", 2)],
        "last_ingested_at": after["last_ingested_at"],
    }
