"""Metronome's and OpenMeter's routes: usage, meter queries and API keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from events.auth.keyring import Caller
from events.auth.keys import Right
from events.config import Settings
from tests.api.test_adapters import (
    METER,
    METRONOME,
    OPENMETER,
    USAGE,
    cloud_event,
    rejections,
    stored,
    usage_event,
)
from tests.support.api import Api, serving
from tests.support.factories import DAY, HOUR, HOUR_ZERO, event
from tests.support.sqlstore import MemoryStore

RANGE = {"starting_on": "2021-03-01T00:00:00Z", "ending_before": "2021-03-03T00:00:00Z"}
STORED = [
    event("t-1"),
    event("t-2", timestamp=HOUR_ZERO + HOUR),
    event("t-3", timestamp=HOUR_ZERO + DAY),
    event("t-4", event_type="login", timestamp=HOUR_ZERO + HOUR),
    event("t-5", customer_id="zeta", timestamp=HOUR_ZERO + HOUR),
]


@pytest.fixture
def filled(api: Api) -> Api:
    assert api.send(*STORED).status_code == 200
    return api


# --- Metronome: usage -----------------------------------------------------------------------------


def usage(api: Api, query: str = "", **body: object) -> Any:
    return api.post({**RANGE, **body}, USAGE + query)


def rows(api: Api, **body: object) -> Iterator[tuple[str, str, str, str, int]]:
    """All rows of all pages, times without their fixed parts."""
    query = ""
    while True:
        response = usage(api, query, **body)
        assert response.status_code == 200, response.text
        page = response.json()
        for row in page["data"]:
            assert row["billable_metric_name"] == row["billable_metric_id"]
            start, end = row["start_timestamp"][8:16], row["end_timestamp"][8:16]
            yield row["customer_id"], row["billable_metric_id"], start, end, row["value"]
        if page["next_page"] is None:
            return
        query = f"?next_page={page['next_page']}"


DAYS = [
    ("acme", "api_call", "01T00:00", "02T00:00", 2),
    ("acme", "login", "01T00:00", "02T00:00", 1),
    ("acme", "api_call", "02T00:00", "03T00:00", 1),
    ("zeta", "api_call", "01T00:00", "02T00:00", 1),
]
HOURS = [
    ("acme", "api_call", "01T00:00", "01T01:00", 1),
    ("acme", "api_call", "01T01:00", "01T02:00", 1),
    ("acme", "login", "01T01:00", "01T02:00", 1),
    ("acme", "api_call", "02T00:00", "02T01:00", 1),
    ("zeta", "api_call", "01T01:00", "01T02:00", 1),
]
WHOLE = [
    ("acme", "api_call", "01T00:00", "03T00:00", 3),
    ("acme", "login", "01T00:00", "03T00:00", 1),
    ("zeta", "api_call", "01T00:00", "03T00:00", 1),
]


@pytest.mark.parametrize("rows_per_page", [1, 2, 1_000])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"window_size": "DAY"}, DAYS),
        ({"window_size": "day", "customer_ids": None}, DAYS),
        ({"window_size": "HOUR"}, HOURS),
        ({"window_size": "NONE"}, WHOLE),
        ({"window_size": "none", "customer_ids": ["zeta", "acme", "zeta"]}, WHOLE),
        ({"window_size": "NONE", "customer_ids": ["zeta"]}, WHOLE[2:]),
        ({"window_size": "HOUR", "billable_metrics": [{"id": "login"}]}, [HOURS[2]]),
        (
            {
                "window_size": "NONE",
                "customer_ids": ["nobody"],
                "billable_metrics": [{"id": "login"}],
            },
            [("nobody", "login", "01T00:00", "03T00:00", 0)],
        ),
        ({"window_size": "DAY", "customer_ids": ["nobody"]}, []),
        (
            {
                "window_size": "HOUR",
                "starting_on": "2021-03-01T00:30:00Z",
                "ending_before": "2021-03-01T01:30:00Z",
                "customer_ids": ["zeta"],
            },
            [("zeta", "api_call", "01T01:00", "01T01:30", 1)],
        ),
    ],
)
def test_usage_has_the_counts_of_all_pages(
    filled: Api,
    monkeypatch: pytest.MonkeyPatch,
    rows_per_page: int,
    body: dict[str, object],
    expected: list[object],
) -> None:
    monkeypatch.setattr("events.api.adapters.metronome._ROWS_PER_PAGE", rows_per_page)
    monkeypatch.setattr("events.api.adapters.metronome._CUSTOMERS_PER_PAGE", rows_per_page)
    assert list(rows(filled, **body)) == expected


@pytest.mark.parametrize(
    ("query", "body", "field", "named"),
    [
        ("", {"window_size": "WEEK"}, "window_size", "'WEEK': use HOUR, DAY or NONE"),
        ("", {}, "body", "window_size"),
        ("", {"window_size": "DAY", "starting_on": "x"}, "starting_on", "not an ISO 8601"),
        (
            "",
            {"window_size": "DAY", "ending_before": "2020-01-01"},
            "starting_on",
            "is after ending_before, 2020-01-01 00:00:00+00:00: swap them",
        ),
        ("", {"window_size": "DAY", "group_by": {"key": "region"}}, "body", "`group_by`"),
        (
            "",
            {"window_size": "DAY", "billable_metrics": [{"id": "a", "group_by": {"key": "k"}}]},
            "body",
            "`group_by`",
        ),
        ("", {"window_size": "DAY", "customer_ids": [""]}, "customer_ids", "is empty"),
        ("?next_page=!", {"window_size": "DAY"}, "next_page", "invalid cursor"),
        ("?next_page=YQ", {"window_size": "DAY"}, "next_page", "invalid cursor"),
        ("?next_page=eCNh", {"window_size": "DAY"}, "next_page", "invalid cursor"),
        ("?limit=5", {"window_size": "DAY"}, "limit", "unknown query parameter"),
    ],
)
def test_usage_that_cannot_be_mapped_is_named(
    filled: Api, query: str, body: dict[str, object], field: str, named: str
) -> None:
    errors = rejections(usage(filled, query, **body))
    assert named in errors[field]


def test_a_field_that_is_given_twice_is_refused(filled: Api) -> None:
    body = json.dumps({"starting_on": "2021-03-01", "ending_before": "2021-03-02"})[:-1]
    twice = f'{body}, "window_size": "DAY", "window_size": "HOUR"}}'.encode()

    assert rejections(filled.post(twice, USAGE))["body"].startswith("has 'window_size' twice. ")


# --- OpenMeter: query a meter ---------------------------------------------------------------------


def meter(api: Api, query: str, slug: str = "api_call") -> Any:
    return api.get(f"{METER}/{slug}/query?{query}")


MARCH = "from=2021-03-01T00:00:00Z&to=2021-03-03T00:00:00Z"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (MARCH, [("01T00:00", "03T00:00", None, 4)]),
        ("", [("01T00:00", "02T01:00", None, 4)]),
        (
            f"{MARCH}&groupBy=subject",
            [("01T00:00", "03T00:00", "acme", 3), ("01T00:00", "03T00:00", "zeta", 1)],
        ),
        (f"{MARCH}&subject=zeta", [("01T00:00", "03T00:00", "zeta", 1)]),
        (
            f"{MARCH}&subject=zeta&subject=acme&windowSize=DAY",
            [
                ("01T00:00", "02T00:00", "acme", 2),
                ("01T00:00", "02T00:00", "zeta", 1),
                ("02T00:00", "03T00:00", "acme", 1),
            ],
        ),
        (
            f"{MARCH}&windowSize=HOUR&windowTimeZone=UTC",
            [
                ("01T00:00", "01T01:00", None, 1),
                ("01T01:00", "01T02:00", None, 2),
                ("02T00:00", "02T01:00", None, 1),
            ],
        ),
        (
            f"{MARCH}&windowSize=HOUR&windowTimeZone=Asia/Kolkata&subject=zeta",
            [("01T00:30", "01T01:30", "zeta", 1)],
        ),
        (f"{MARCH}&windowSize=MONTH", [("01T00:00", "03T00:00", None, 4)]),
        (
            f"{MARCH}&windowSize=DAY&windowTimeZone=Asia/Tokyo",
            [("01T00:00", "01T15:00", None, 3), ("01T15:00", "02T15:00", None, 1)],
        ),
        (f"{MARCH}&subject=nobody", []),
        ("from=2030-01-01T00:00:00Z&to=2031-01-01T00:00:00Z", []),
    ],
)
def test_a_meter_has_the_counts_of_its_event_type(
    filled: Api, query: str, expected: list[object]
) -> None:
    response = meter(filled, query)
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    assert [
        (row["windowStart"][8:16], row["windowEnd"][8:16], row["subject"], row["value"])
        for row in data
    ] == expected
    for row in data:
        assert row["groupBy"] == ({"subject": row["subject"]} if row["subject"] else {})


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("windowSize=MINUTE", "windowSize"),
        ("groupBy=region", "groupBy"),
        ("windowTimeZone=Mars/Base", "windowTimeZone"),
        ("from=yesterday", "from"),
        ("filterGroupBy[region]=eu", "filterGroupBy[region]"),
        ("filterCustomerId=acme", "filterCustomerId"),
        ("advancedMeterGroupByFilters={}", "advancedMeterGroupByFilters"),
        ("subject=", "subject"),
        ("from=2021-03-02T00:00:00Z&to=2021-03-01T00:00:00Z", "from"),
    ],
)
def test_a_query_that_cannot_be_mapped_is_named(filled: Api, query: str, field: str) -> None:
    assert rejections(meter(filled, query)).keys() == {field}


def test_a_query_of_too_many_subjects_asks_for_their_names(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.api.adapters.openmeter._MAX_CUSTOMERS", 1)
    assert rejections(meter(filled, MARCH)).keys() == {"subject"}
    assert meter(filled, f"{MARCH}&subject=acme&subject=zeta").status_code == 200
    monkeypatch.setattr("events.api.adapters.openmeter._MAX_ROWS", 1)
    errors = rejections(meter(filled, f"{MARCH}&subject=acme&windowSize=DAY"))
    assert errors.keys() == {"from"}


# --- API keys -------------------------------------------------------------------------------------


def test_a_key_of_one_customer_reads_and_sends_only_its_own(
    memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Settings(), memory) as api:
        caller = Caller("k", frozenset({Right.READ, Right.INGEST}), "acme")
        monkeypatch.setattr("events.api.security.ANYONE", caller)
        zeta = usage_event(customer_id="zeta")
        answers = [
            api.post([usage_event()], METRONOME),
            api.post([usage_event(), zeta], METRONOME),
            api.post(cloud_event(), OPENMETER),
            api.post([cloud_event(), cloud_event(subject="zeta")], OPENMETER),
            usage(api, window_size="NONE", customer_ids=["acme"]),
            usage(api, window_size="NONE", customer_ids=["acme", "zeta"]),
            usage(api, window_size="NONE"),
            meter(api, "subject=acme"),
            meter(api, "subject=acme&subject=zeta"),
            meter(api, ""),
        ]
        assert [answer.status_code for answer in answers] == [
            200, 403, 204, 403, 200, 403, 403, 200, 403, 403,
        ]  # fmt: skip
        assert stored(api) == 2
        caller = Caller("k", frozenset(), None)
        monkeypatch.setattr("events.api.security.ANYONE", caller)
        for answer in (
            api.post([usage_event()], METRONOME),
            api.post(cloud_event(), OPENMETER),
            usage(api, window_size="NONE"),
            meter(api, ""),
        ):
            assert answer.status_code == 403
