"""Metronome's and OpenMeter's routes: what their clients need of each answer."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from events.config import Settings
from events.errors import StoreUnavailable
from tests.support.api import Api, serving
from tests.support.sqlstore import MemoryStore

METRONOME, USAGE = "/metronome/v1/ingest", "/metronome/v1/usage"
OPENMETER, METER = "/openmeter/api/v1/events", "/openmeter/api/v1/meters"
NOT_A_TIME = "'x' is not a date and time; write it like 2021-03-01T00:10:05.657Z"


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
        (METRONOME, b"\xef\xbb\xbf" + json.dumps([usage_event()]).encode(), 200),
        (OPENMETER, b"\xef\xbb\xbf" + json.dumps(cloud_event()).encode(), 204),
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
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "is empty"),
        (b"[", "is not valid JSON: input data was truncated"),
        (b"", "is empty"),
        (b"7", "is a number, not an "),
        ("[]".encode("utf-16"), "is UTF-16: send UTF-8"),
        (gzip.compress(b"[]", mtime=0), "is gzip: send the header Content-Encoding: gzip"),
    ],
)
def test_a_body_without_events_is_a_bad_request(
    api: Api, path: str, body: bytes, reason: str
) -> None:
    (detail,) = rejections(api.post(body, path)).values()
    assert detail.startswith(reason)


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
