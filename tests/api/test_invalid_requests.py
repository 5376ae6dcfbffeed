"""Invalid parameters, paths and methods."""

from __future__ import annotations

import pytest

from tests.support.api import (
    DAY_ONE,
    INVALID_CURSOR,
    NOT_A_NUMBER,
    NOT_ALLOWED,
    NOT_AN_INSTANT,
    NOT_FOUND,
    UNKNOWN_PARAMETER,
    Api,
    bad_request,
    cursor_of,
    customer_path,
    documents,
    problem,
)
from tests.support.factories import event


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("", {"start": "is missing", "end": "is missing"}),
        ("start=2021-03-01", {"end": "is missing"}),
        ("start=&end=", {"start": "is empty", "end": "is empty"}),
        (f"{DAY_ONE}&start=2021-03-01", {"start": "is given 2 times: give it once"}),
        (f"{DAY_ONE}&x=1&x=2", {"x": "is given 2 times: give it once"}),
        (f"{DAY_ONE}&limits=1", {"limits": UNKNOWN_PARAMETER}),
        (f"{DAY_ONE}&End=2021-03-02", {"End": UNKNOWN_PARAMETER}),
        (f"{DAY_ONE}&group_by=hour", {"group_by": "input should be 'event_type'"}),
        (f"{DAY_ONE}&fill=none", {"fill": "input should be 'zero'"}),
        (
            f"{DAY_ONE}&format=xml",
            {"format": "input should be 'json', 'csv', 'jsonl' or 'parquet'"},
        ),
        (f"{DAY_ONE}&limit=0", {"limit": "input should be greater than or equal to 1"}),
        (f"{DAY_ONE}&limit=10001", {"limit": "input should be less than or equal to 10000"}),
        (f"{DAY_ONE}&limit=", {"limit": NOT_A_NUMBER}),
        (f"{DAY_ONE}&limit=1e3", {"limit": NOT_A_NUMBER}),
        (f"{DAY_ONE}&limit=1_0", {"limit": NOT_A_NUMBER}),
        (f"{DAY_ONE}&limit=x&fill=y", {"fill": "input should be 'zero'", "limit": NOT_A_NUMBER}),
        (f"{DAY_ONE}&event_type=", {"event_type": "is empty"}),
        (
            f"{DAY_ONE}&event_type=a&event_type=%20",
            {"event_type": "has white space at its start or end"},
        ),
        (
            f"{DAY_ONE}&event_type={'x' * 995}",
            {"event_type": "takes 995 bytes of the key (% and - take three each), more than 994"},
        ),
        (f"{DAY_ONE}&event_type=%ff", {"query": "is not valid UTF-8"}),
        (f"{DAY_ONE}&%ff=1", {"query": "is not valid UTF-8"}),
        (
            "start=2021-03-02&end=2021-03-01",
            {
                "start": "2021-03-02 00:00:00+00:00 is after end, "
                "2021-03-01 00:00:00+00:00: swap them"
            },
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_an_invalid_parameter_is_named(api: Api, query: str, errors: dict[str, str]) -> None:
    assert problem(api.buckets(query)) == bad_request(**errors)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/events?dry_run=1"),
        ("POST", "/events/void?dry_run=1"),
        ("DELETE", f"{customer_path('acme')}/events?dry_run=1"),
    ],
)
def test_a_write_with_an_unknown_parameter_changes_nothing(
    api: Api, method: str, path: str
) -> None:
    api.send(event("stored"))
    body: dict[str, object] = {"events": documents(event("stored"), event("other"))}
    if path.startswith("/events/void"):
        body["reason"] = "a test"
    response = api.client.request(method, path, json=body)
    assert problem(response) == bad_request(dry_run=UNKNOWN_PARAMETER)
    assert api.buckets(DAY_ONE).json()["total"] == 1


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("10", f"'10' {NOT_AN_INSTANT}"),
        ("1614556800", f"'1614556800' {NOT_AN_INSTANT}"),
        ("2021-03-01%00", f"'2021-03-01\\x00' {NOT_AN_INSTANT}"),
        ("%D9%A2021-03-01", f"'\\u0662021-03-01' {NOT_AN_INSTANT}"),
        ("9" * 5_000, "has 5,000 characters; write it like 2021-03-01T00:00:00Z"),
        (
            "2021-03-01T00:00:00+01:00",
            "'2021-03-01T00:00:00 01:00' has a space where the + of the offset should be: "
            "in a URL write + as %2B, or use Z",
        ),
    ],
    ids=lambda value: value[:30],
)
def test_an_invalid_instant_is_a_400(api: Api, text: str, detail: str) -> None:
    """tests/unit/test_timestamps.py has the many other ways to write no instant."""
    assert problem(api.buckets(f"start={text}&end=2021-03-02")) == bad_request(start=detail)
    assert problem(api.buckets(f"start=2021-03-01&end={text}")) == bad_request(end=detail)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        pytest.param("", INVALID_CURSOR, id="empty"),
        pytest.param("!!", INVALID_CURSOR, id="not base64"),
        pytest.param("%C3%A9", INVALID_CURSOR, id="not ASCII"),
        pytest.param("_w", INVALID_CURSOR, id="base64 of bytes that are not UTF-8"),
        pytest.param("A", INVALID_CURSOR, id="truncated base64"),
        pytest.param(cursor_of("hello"), INVALID_CURSOR, id="not an instant"),
        pytest.param(cursor_of("10000-01-01T00:00:00Z"), INVALID_CURSOR, id="after year 9999"),
        pytest.param(cursor_of("2021-03-01T01:00:00Z#x"), INVALID_CURSOR, id="total not a number"),
        pytest.param(cursor_of("2021-03-01T01:00:00Z#-1#"), INVALID_CURSOR, id="negative total"),
        pytest.param(cursor_of("2021-03-01T01:00:00Z#1#x"), INVALID_CURSOR, id="no last change"),
        pytest.param(cursor_of("2021-02-28T23:00:00Z"), INVALID_CURSOR, id="before the range"),
        pytest.param(cursor_of("2021-03-02T00:00:00Z"), INVALID_CURSOR, id="at the range's end"),
        pytest.param(cursor_of("2021-03-01T00:30:00Z"), INVALID_CURSOR, id="inside an hour"),
    ],
)
def test_an_invalid_cursor_is_a_400(api: Api, text: str, detail: str) -> None:
    assert problem(api.buckets(f"{DAY_ONE}&cursor={text}")) == bad_request(cursor=detail)


@pytest.mark.parametrize(
    "path", ["/nope", "/event", "/events/customers/acme", "/events/customers/acme/hours", "/%ff"]
)
def test_an_unknown_path_is_a_404(api: Api, path: str) -> None:
    response = api.get(path)
    assert (response.status_code, problem(response)) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/events/customers/acme/buckets", "GET, HEAD"),
        ("/events/customers", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/events", "POST"),
        ("/events/void", "POST"),
    ],
)
def test_another_method_is_a_405(api: Api, path: str, allow: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        if method not in allow:
            response = api.client.request(method, path)
            assert (response.status_code, problem(response)) == (405, NOT_ALLOWED), method
            assert response.headers["allow"] == allow
