"""POST /events: the formats of a body, from a JSON array to CloudEvents in headers."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.support.api import Api, errors_of
from tests.support.factories import event, expected_contents
from tests.support.sqlstore import MemoryStore

T0 = "2021-03-01T00:00:00Z"
ONE = {"customer_id": "acme", "event_type": "api_call", "transaction_id": "t-0", "timestamp": T0}
CLOUD = {
    "specversion": "1.0",
    "id": "t-0",
    "source": "/a",
    "type": "api_call",
    "subject": "acme",
    "time": T0,
}
CLOUD_ID = "/a t-0"
MARK = b"\xef\xbb\xbf"
BINARY = {f"ce_{name}": value for name, value in CLOUD.items()}


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("body", "headers", "transaction_id"),
    [
        (encoded([ONE]), {}, "t-0"),
        (encoded(ONE), {}, "t-0"),
        (MARK + encoded({"events": [ONE]}), {}, "t-0"),
        (MARK + b" \n" + encoded([ONE]), {}, "t-0"),
        (encoded(ONE) + b"\n\n", {"Content_Type": "application/x-ndjson"}, "t-0"),
        (MARK + encoded(ONE), {"Content_Type": "application/jsonl; charset=utf-8"}, "t-0"),
        (gzip.compress(encoded(ONE), mtime=0), {"Content_Encoding": "x-gzip"}, "t-0"),
        (encoded(CLOUD), {"Content_Type": "application/cloudevents+json"}, CLOUD_ID),
        (encoded(CLOUD), {}, CLOUD_ID),
        (encoded([CLOUD]), {"Content_Type": "application/cloudevents-batch+json"}, CLOUD_ID),
        (encoded({"events": [CLOUD | {"data": {"id": 1}}]}), {}, CLOUD_ID),
        (encoded(CLOUD), {"Content_Type": "application/ndjson"}, CLOUD_ID),
        (b'{"any": "data"}', BINARY, CLOUD_ID),
        (b"\x00\xff", {**BINARY, "Content_Type": "application/octet-stream"}, CLOUD_ID),
        (b"", {**BINARY, "Content_Type": "", "ce_extra": "x"}, CLOUD_ID),
        (b"", {**BINARY, "ce_source": "/a%20"[:2], "ce_id": "t%2D0"}, CLOUD_ID),
        (b"", {**BINARY, "ce_subject": '"acme"', "ce_id": r'"t-\0"'}, CLOUD_ID),
        (b"", {**BINARY, "ce_id": '"t" 0'}, '/a "t" 0'),
    ],
)
def test_each_format_of_a_body_is_read(
    api: Api, memory: MemoryStore, body: bytes, headers: dict[str, str], transaction_id: str
) -> None:
    response = api.post(body, **headers)

    assert (response.status_code, response.json()["inserted"]) == (200, 1)
    assert memory.contents() == expected_contents([event(transaction_id)])


def test_headers_beside_structured_cloudevents_are_not_another_event(
    api: Api, memory: MemoryStore
) -> None:
    """The HTTP binding, section 3: the content type decides the mode."""
    for body, content_type in (
        (encoded([CLOUD, CLOUD | {"id": "t-1"}]), "application/cloudevents-batch+json"),
        (encoded(CLOUD), "application/cloudevents+json; charset=utf-8"),
    ):
        response = api.post(body, **{**BINARY, "ce_id": "x"}, Content_Type=content_type)
        assert response.status_code == 200
    assert memory.contents() == expected_contents([event(CLOUD_ID), event("/a t-1")])


def test_percent_encoding_in_headers_is_utf_8(api: Api, memory: MemoryStore) -> None:
    response = api.post(b"", **{**BINARY, "ce_subject": "gr%C3%B6%C3%9Fe"})

    assert response.json()["inserted"] == 1
    expected = event(CLOUD_ID, customer_id="größe")
    assert memory.contents() == expected_contents([expected])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"ce_subject": "gr%F6%DFe"}, {"events.0.subject": "is not valid UTF-8 at position 3"}),
        ({"ce_time": "soon"}, {"events.0.time": "'soon' is not a date and time; write it like "}),
        ({"ce_specversion": "2.0"}, {"events.0.specversion": "is '2.0', not '1.0'"}),
        ({"ce_id": ""}, {"events.0.id": "is empty"}),
        ({"ce_source": "/a%20b"}, {"events.0.source": "has white space, which would make "}),
    ],
)
def test_an_invalid_header_is_named(
    api: Api, memory: MemoryStore, changes: dict[str, str], error: dict[str, str]
) -> None:
    response = api.post(b"{}", **{**BINARY, **changes})

    assert response.status_code == 400
    (field, detail), *others = errors_of(response).items()
    assert others == []
    assert {field: detail[: len(error.get(field, ""))]} == error
    assert memory.contents() == expected_contents([])


def test_an_attribute_in_two_headers_is_refused(api: Api) -> None:
    headers = [(name.replace("_", "-"), value) for name, value in BINARY.items()]
    response = api.client.post("/events", headers=[*headers, ("ce-id", "t-1")])

    assert errors_of(response) == {"events.0.id": "has two headers"}


def test_a_missing_time_is_refused(api: Api) -> None:
    headers = {name: value for name, value in BINARY.items() if name != "ce_time"}
    assert errors_of(api.post(b"", **headers)) == {
        "events.0.time": "is missing: a time made on receipt would count a retry twice"
    }


def test_receipts_of_json_lines_have_lines(api: Api, memory: MemoryStore) -> None:
    body = b"\n".join([encoded(ONE), b"", b"{", b" \r", encoded(CLOUD), encoded({"x": 1})])
    response = api.post(body, Content_Type="application/x-ndjson")

    assert response.status_code == 207
    results: list[dict[str, Any]] = response.json()["results"]
    assert [(r["index"], r["line"], r["status"]) for r in results] == [
        (0, 1, "inserted"),
        (1, 3, "rejected"),
        (2, 5, "inserted"),
        (3, 6, "rejected"),
    ]
    assert results[3]["error"] == "customer_id: is missing"
    assert memory.contents() == expected_contents([event(), event(CLOUD_ID)])


def test_receipts_of_an_array_have_the_index_of_each_event(api: Api) -> None:
    response = api.post(encoded([ONE, ONE, 7, ONE | {"customer_id": "a\u200bb"}]))

    assert [receipt["status"] for receipt in response.json()["results"]] == [
        *("inserted", "duplicate", "rejected", "rejected")
    ]
    assert response.json()["results"][3]["error"].startswith(
        "customer_id: has the invisible character U+200B (ZERO WIDTH SPACE) at position 2"
    )


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (b"[]", "application/json", {"body": "is empty"}),
        (b"\n \n", "application/x-ndjson", {"body": "is empty"}),
        (b"{}", "application/json", {"events": "is missing"}),
        (b'{"event": []}', "application/json", {"events": "is missing"}),
        (b"[1", "application/json", {"body": "is not valid JSON: input data was truncated"}),
        (b'{"customer_id": "c"}', "application/json", {"events.0.event_type": "is missing"}),
        (b"7", "application/x-ndjson", {"line 1": "is a number, not an object"}),
        (b'{"events": []}', "application/x-ndjson", {"line 1": "customer_id: is missing"}),
    ],
)  # fmt: skip
def test_a_body_without_events_is_a_400(
    api: Api, body: bytes, content_type: str, error: dict[str, str]
) -> None:
    response = api.post(body, Content_Type=content_type)

    assert response.status_code == 400
    assert errors_of(response) == error


def test_a_thousand_events_is_the_limit_of_every_format(api: Api) -> None:
    for body, content_type in (
        (encoded([ONE] * 1_001), "application/json"),
        ((encoded(ONE) + b"\n") * 1_001, "application/x-ndjson"),
    ):
        assert api.post(body, Content_Type=content_type).status_code == 413


def test_what_is_stored_can_be_voided_in_every_form(api: Api) -> None:
    api.post(encoded([ONE, CLOUD]))
    response = api.void(ONE, CLOUD, ONE | {"customer_id": "a\u200bb"})

    assert [receipt["status"] for receipt in response.json()["results"]] == [
        *("voided", "voided", "not_found")
    ]
    headers = {**BINARY, "Content_Type": "text/plain"}
    assert api.post(b"", "/events/void", **headers).status_code == 415


HEADER = "customer_id,event_type,transaction_id,timestamp\n"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("columns=transaction_id=id", f"id,user_id,event,time\nt-0,acme,api_call,{T0}\n"),
        ("columns=customer_id%3Da,event_type%3Db,transaction_id%3Dc,timestamp%3Dd",
         f"d,c,b,a\n{T0},t-0,api_call,acme\n"),
        ("delimiter=~", f"acme~api_call~t-0~{T0}\n"),
        ("delimiter=tab", f"acme\tapi_call\tt-0\t{T0}\n"),
        ("timestamp_format=epoch-ms", "acme,api_call,t-0,1614556800000\n"),
        ("timestamp_format=%25d.%25m.%25Y%20%25H:%25M%25z",
         "acme,api_call,t-0,01.03.2021 01:00+0100\n"),
        ("assume_timezone=Europe/Berlin", HEADER + "acme,api_call,t-0,2021-03-01 01:00:00\n"),
        ("assume_timezone=UTC&ambiguous_hour=first", "acme,api_call,t-0,2021-03-01T00:00:00\n"),
        ("timestamp_format=%25d.%25m.%25Y&assume_timezone=UTC", "acme,api_call,t-0,01.03.2021\n"),
        ("timestamp_format=iso", f"acme,api_call,t-0,{T0}\n"),
    ],
)  # fmt: skip
def test_csv_is_read_with_the_options_of_the_command_line(
    api: Api, memory: MemoryStore, query: str, body: str
) -> None:
    response = api.post(body.encode(), f"/events?{query}", Content_Type="text/csv")

    assert (response.status_code, response.json()["inserted"]) == (200, 1), response.text
    assert memory.contents() == expected_contents([event()])


@pytest.mark.parametrize(
    ("query", "field", "detail"),
    [
        ("columns=id", "columns", "'id': write FIELD=COLUMN, such as customer_id=user"),
        ("columns=customer_id=x", "body", "the CSV, line 1: the header lacks 'x', named in "),
        ("delimiter=ab", "delimiter", "'ab': give one character, or comma, semicolon, tab, "),
        ("timestamp_format=unix", "timestamp_format", "'unix' is unknown: use iso, epoch-s, "),
        ("timestamp_format=auto", "timestamp_format", "auto needs a whole file: name the format"),
        ("assume_timezone=Mars", "assume_timezone", "unknown time zone 'Mars': use an IANA name"),
        ("ambiguous_hour=third", "ambiguous_hour", ""),
    ],
)
def test_an_invalid_csv_option_is_named(api: Api, query: str, field: str, detail: str) -> None:
    body = f"{HEADER}acme,api_call,t-0,{T0}\n".encode()
    errors = errors_of(api.post(body, f"/events?{query}", Content_Type="text/csv"))

    assert list(errors) == [field]
    assert errors[field].startswith(detail)


def test_csv_options_are_refused_for_other_bodies(api: Api) -> None:
    response = api.post(encoded([ONE]), "/events?assume_timezone=UTC")

    assert response.status_code == 400
    assert errors_of(response) == {
        "assume_timezone": "is an option of text/csv, which this request does not send"
    }
