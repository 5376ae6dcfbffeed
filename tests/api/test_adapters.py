"""Metronome's and OpenMeter's routes: what their clients need of each answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from events.auth.keyring import Caller
from events.auth.keys import Right
from events.config import Settings
from events.errors import StoreUnavailable
from tests.support.api import Api, serving
from tests.support.factories import DAY, HOUR, HOUR_ZERO, event
from tests.support.sqlstore import MemoryStore

METRONOME, USAGE = "/metronome/v1/ingest", "/metronome/v1/usage"
OPENMETER, METER = "/openmeter/api/v1/events", "/openmeter/api/v1/meters"
NOT_A_TIME = "'x' is not a date and time; write it like 2021-03-01T00:10:05.657Z"
RANGE = {"starting_on": "2021-03-01T00:00:00Z", "ending_before": "2021-03-03T00:00:00Z"}
STORED = [
    event("t-1"),
    event("t-2", timestamp=HOUR_ZERO + HOUR),
    event("t-3", timestamp=HOUR_ZERO + DAY),
    event("t-4", event_type="login", timestamp=HOUR_ZERO + HOUR),
    event("t-5", customer_id="zeta", timestamp=HOUR_ZERO + HOUR),
]


def usage_event(**changes: object) -> dict[str, object]:
    one = {
        "customer_id": "acme",
        "event_type": "api_call",
        "transaction_id": "t-1",
        "timestamp": "2021-03-01T00:00:00Z",
    } | changes
    return {name: value for name, value in one.items() if value is not None}


def cloud_event(**changes: object) -> dict[str, object]:
    one = {
        "specversion": "1.0",
        "id": "t-1",
        "source": "/app",
        "type": "api_call",
        "subject": "acme",
        "time": "2021-03-01T00:00:00Z",
    } | changes
    return {name: value for name, value in one.items() if value is not None}


def stored(api: Api) -> int:
    total: int = api.buckets("start=2021-03-01&end=2021-03-04").json()["total"]
    return total


@pytest.fixture
def filled(api: Api) -> Api:
    assert api.send(*STORED).status_code == 200
    return api


def rejections(response: Any) -> dict[str, str]:
    """The errors of a 400 that a client neither retries nor misreads."""
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert "retry-after" not in response.headers
    return {error["field"]: error["detail"] for error in response.json()["errors"]}


# --- ingest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (METRONOME, [usage_event()], 200),
        (METRONOME, [usage_event(), usage_event()], 200),
        (OPENMETER, cloud_event(), 204),
        (OPENMETER, [cloud_event(), cloud_event()], 204),
        (OPENMETER, [cloud_event(data={"tokens": 5}, datacontenttype="application/json")], 204),
    ],
)
def test_an_event_is_counted_once_however_often_it_is_sent(
    api: Api, path: str, body: object, status: int
) -> None:
    for _ in range(2):
        response = api.post(body, path)
        assert (response.status_code, response.content) == (status, b"")
        assert stored(api) == 1


@pytest.mark.parametrize(
    "media_type", ["application/cloudevents+json", "application/cloudevents-batch+json"]
)
def test_openmeter_takes_the_content_types_of_cloudevents(api: Api, media_type: str) -> None:
    assert api.post(cloud_event(), OPENMETER, Content_Type=media_type).status_code == 204
    assert api.post([cloud_event()], OPENMETER, Content_Type=media_type).status_code == 204
    assert api.post("hello", OPENMETER, Content_Type="text/plain").status_code == 415
    found = api.get("/events/customers/acme/events").json()["events"]
    assert [one["transaction_id"] for one in found] == ["/app t-1"]


def test_openmeter_takes_binary_mode_whatever_the_content_type(api: Api) -> None:
    headers = {f"ce_{name}": str(value) for name, value in cloud_event().items()}
    response = api.post({"data": 1}, OPENMETER, **headers)
    assert response.status_code == 204
    assert stored(api) == 1


def test_ignored_properties_are_named_in_a_header(api: Api) -> None:
    response = api.post([usage_event(properties={"tokens": 5})], METRONOME)
    assert (response.status_code, response.headers["events-ignored"]) == (200, "properties")
    assert "events-ignored" not in api.post([usage_event()], METRONOME).headers


@pytest.mark.parametrize(
    ("path", "wrong", "field", "reason"),
    [
        (METRONOME, usage_event(timestamp=None), ".timestamp", "is missing"),
        (METRONOME, usage_event(transaction_id=None), ".transaction_id", "is missing"),
        (METRONOME, usage_event(customer_id=7), ".customer_id", "is a number, not a string"),
        (METRONOME, usage_event(timestamp="x"), ".timestamp", NOT_A_TIME),
        (METRONOME, usage_event(value=1), "", "has an unknown field 'value'"),
        (METRONOME, "text", "", "is a string, not an object"),
        (
            OPENMETER,
            cloud_event(time=None),
            ".time",
            "is missing: a time made on receipt would count a retry twice",
        ),
        (OPENMETER, cloud_event(id=None), ".id", "is missing"),
        (OPENMETER, cloud_event(subject=None), ".subject", "is missing"),
        (OPENMETER, cloud_event(specversion="0.3"), ".specversion", "is '0.3', not '1.0'"),
        (OPENMETER, cloud_event(specversion=None), ".specversion", "is missing"),
        (OPENMETER, usage_event(), ".specversion", "is missing"),
        (
            OPENMETER,
            cloud_event(source="a b"),
            ".source",
            "has white space, which would make transaction ids ambiguous",
        ),
    ],
)
def test_a_rejected_event_is_named_and_the_others_are_stored(
    api: Api, path: str, wrong: object, field: str, reason: str
) -> None:
    good = usage_event() if path == METRONOME else cloud_event()
    response = api.post([good, wrong], path)
    assert rejections(response) == {f"events.1{field}": reason}
    assert response.json()["detail"] == (
        "1 of 2 events rejected: see errors. The others are stored; sending them again is safe."
    )
    assert stored(api) == 1
    assert rejections(api.post([wrong], path)) == {f"events.0{field}": reason}
    assert stored(api) == 1


@pytest.mark.parametrize("path", [METRONOME, OPENMETER])
@pytest.mark.parametrize("body", [b"[]", b"[", b"", b"7"])
def test_a_body_without_events_is_a_bad_request(api: Api, path: str, body: bytes) -> None:
    assert rejections(api.post(body, path))


def test_a_store_that_is_down_is_a_503_to_retry(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(api.service, "submit", fail)
    for path, body in ((METRONOME, [usage_event()]), (OPENMETER, cloud_event())):
        response = api.post(body, path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")


def test_a_rate_limit_never_asks_for_more_than_a_minute(memory: MemoryStore) -> None:
    with serving(Settings(events_rate_per_address="1/day"), memory) as api:
        assert api.post([usage_event()], METRONOME).status_code == 200
        for path, body in ((METRONOME, [usage_event()]), (OPENMETER, cloud_event())):
            response = api.post(body, path)
            assert (response.status_code, response.headers["retry-after"]) == (429, "60")
        assert int(api.get("/events/customers").headers["retry-after"]) > 60


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
        ("", {"window_size": "DAY", "ending_before": "2020-01-01"}, "start", "is after end"),
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
        ("from=2021-03-02T00:00:00Z&to=2021-03-01T00:00:00Z", "start"),
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
