"""POST /events with CSV: the rules of the command, and receipts by line."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.support.api import DAY_ONE, Api, bad_request, errors_of, problem
from tests.support.factories import event, expected_contents, many_events, time_text
from tests.support.sqlstore import MemoryStore

HEADER = "customer_id,event_type,transaction_id,timestamp\n"
T0 = "2021-03-01T00:00:00Z"


def post_csv(api: Api, text: str | bytes, **headers: str) -> Any:
    body = text if isinstance(text, bytes) else text.encode()
    return api.post(body, **{"Content_Type": "text/csv; charset=utf-8", **headers})


@pytest.mark.parametrize(
    "header",
    [HEADER, "", "\n" + HEADER, "\ufeff" + HEADER, HEADER.title().replace("\n", "\r\n")],
    ids=["header", "no header", "blank line", "byte order mark", "other case"],
)
def test_rows_are_stored_with_or_without_a_header(
    api: Api, memory: MemoryStore, header: str
) -> None:
    first = header.count("\n") + 1
    response = post_csv(api, f"{header}acme,api_call,t-0,{T0}\n\nacme,api_call,t-0,{T0}")
    assert (response.status_code, response.json()) == (
        200,
        {
            "inserted": 1,
            "duplicates": 1,
            "voided": 0,
            "rejected": 0,
            "results": [
                {"index": 0, "status": "inserted", "line": first},
                {"index": 1, "status": "duplicate", "line": first + 2},
            ],
        },
    )
    assert memory.contents() == expected_contents([event()])
    assert api.buckets(DAY_ONE).json()["total"] == 1


def test_the_header_names_the_columns(api: Api, memory: MemoryStore) -> None:
    post_csv(api, f"timestamp,transaction_id,event_type,customer_id\n{T0},t-0,api_call,acme\n")
    assert memory.contents() == expected_contents([event()])


def test_only_invalid_rows_are_rejected(api: Api, memory: MemoryStore) -> None:
    response = post_csv(
        api,
        f'{HEADER}acme,api_call,a,{T0}\n"acme,api_call,b,{T0}\nacme,c\n\n'
        f'acme,,d,{T0}\n"acme","api_call",e,{T0}\n',
    )
    assert response.status_code == 207
    assert response.json()["results"] == [
        {"index": 0, "status": "inserted", "line": 2},
        {
            "index": 1,
            "status": "rejected",
            "error": "opens a quote that does not close on the same line",
            "line": 3,
        },
        {"index": 2, "status": "rejected", "error": "has 2 columns, not 4", "line": 4},
        {"index": 3, "status": "rejected", "error": "event_type: is empty", "line": 6},
        {"index": 4, "status": "inserted", "line": 7},
    ]
    assert memory.contents() == expected_contents([event("a"), event("e")])


def test_if_all_rows_are_rejected_the_errors_name_their_lines(api: Api) -> None:
    response = post_csv(api, f"{HEADER}acme,api_call,,{T0}\nacme\n")
    assert errors_of(response) == {
        "line 2": "transaction_id: is empty",
        "line 3": "has 1 column, not 4",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "acme,api_call,t-0,2021-03-01T00:00:00\n",
            "timestamp: has no offset: add Z or +00:00, or name its zone with the parameter "
            "assume_timezone",
        ),
        (
            "acme,api_call,t-0,1614556800\n",
            "timestamp: '1614556800' is a number, perhaps seconds since 1970; write it like 2021-"
            "03-01T00:10:05.657Z, or read the file with the parameter timestamp_format epoch-s",
        ),
        (
            "acme,api_call,t-0,2024-10-27 02:30:00[Europe/Berlin]\n",
            "timestamp: 2024-10-27 02:30:00 occurs twice in Europe/Berlin, at 00:30 and 01:30 UTC, "
            "because the clocks were set back: add the offset, or choose with the parameter "
            "ambiguous_hour first or second",
        ),
        (
            "id,user_id,event,time\n",
            "the CSV, line 1: the header lacks 'transaction_id'; it has 'id', 'user_id', 'event', "
            "'time'. If a field has another name here, add the parameter columns "
            "transaction_id=COLUMN",
        ),
    ],
)
def test_reasons_name_query_parameters(api: Api, text: str, reason: str) -> None:
    assert list(errors_of(post_csv(api, text)).values()) == [reason]


def test_reasons_of_json_name_no_option(api: Api) -> None:
    fields = {"customer_id": "acme", "event_type": "e", "transaction_id": "t"}
    for body, content_type in (
        ({"events": [{**fields, "timestamp": "2021-03-01T00:00:00"}]}, "application/json"),
        ({**fields, "timestamp": "2021-03-01T00:00:00"}, "application/x-ndjson"),
    ):
        (reason,) = errors_of(api.post(body, Content_Type=content_type)).values()
        assert reason.endswith("has no offset: add Z or +00:00")


def test_bytes_that_are_not_utf8_cost_one_row(api: Api) -> None:
    response = post_csv(api, f"a,e,t,{T0}\na,e,\xff,{T0}\n".encode("latin-1"))
    assert [receipt["status"] for receipt in response.json()["results"]] == ["inserted", "rejected"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "has no rows: send at least one event"),
        (HEADER.encode(), "has no rows: send at least one event"),
        (b"\n\r\n", "has no rows: send at least one event"),
        (gzip.compress(b"x", mtime=0), "is gzip: send the header Content-Encoding: gzip"),
    ],
    ids=["empty", "header only", "blank lines", "gzip without its header"],
)
def test_a_body_without_rows_is_a_400(api: Api, body: bytes, detail: str) -> None:
    assert problem(post_csv(api, body)) == bad_request(body=detail)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("customer_id,event_type\nacme,api_call\n", "'transaction_id'"),
        ("a,b,c,d\n", "known names"),
        ('{"events": []}', "is JSON, not CSV"),
        ("PK\x03\x04", "an Excel workbook"),
        ("\ufffe".join("ab"), ""),
    ],
)
def test_a_wrong_header_is_a_400(api: Api, text: str, part: str) -> None:
    assert part in "".join(errors_of(post_csv(api, text)).values())


@pytest.mark.parametrize(
    "body",
    [
        f"{HEADER}acme,api_call,t-0,{T0}\n".replace(",", ";"),
        f"{HEADER}acme,api_call,t-0,{T0}\n".replace(",", "\t"),
        f"{HEADER}acme,api_call,t-0,{T0}\n".encode("utf-16"),
        f"acme|api_call|t-0|{T0}",
        f"user_id,event,idempotency_key,created_at,plan\nacme,api_call,t-0,{T0},pro\n",
        f"sep=;\r\nTime;Type;Subject;External Id\r\n{T0};api_call;acme;t-0\r\n",
        f",{HEADER}0,acme,api_call,t-0,{T0}\n,,,,\n",
        f"{HEADER}acme,api_call,t-0,2021-03-01 01:00:00 Europe/Berlin\n{HEADER}",
        f"{HEADER}\ufeffacme,api_call,t-0,2021-03-01 00:00:00 UTC\n",
        f'{HEADER}acme,api_call,t-0,"Mon, 01 Mar 2021 00:00:00 GMT",,\n',
    ],
)
def test_csv_of_other_systems_is_read(api: Api, memory: MemoryStore, body: str | bytes) -> None:
    assert post_csv(api, body).json()["inserted"] == 1
    assert memory.contents() == expected_contents([event()])


def test_gzip_of_several_members(api: Api) -> None:
    rows = [f"acme,api_call,t-{number},{T0}\n".encode() for number in range(20)]
    body = gzip.compress(HEADER.encode() + b"".join(rows[:9])) + gzip.compress(b"".join(rows[9:]))
    assert post_csv(api, body, Content_Encoding="gzip").json()["inserted"] == 20


def test_1_000_rows_are_accepted_and_1_001_are_a_413(api: Api, memory: MemoryStore) -> None:
    rows = [
        f"{row.customer_id},{row.event_type},{row.transaction_id},{time_text(row.timestamp)}\n"
        for row in many_events(1_001)
    ]
    response = post_csv(api, HEADER + "".join(rows))
    assert response.status_code == 413
    assert "1,000 rows" in problem(response)["detail"]
    assert memory.contents() == expected_contents([])
    assert post_csv(api, HEADER + "".join(rows[:1_000])).json()["inserted"] == 1_000


def test_other_types_and_charsets_are_a_415(api: Api) -> None:
    for content_type in ("text/csv; charset=latin-1", "text/tab-separated-values"):
        assert post_csv(api, HEADER, Content_Type=content_type).status_code == 415
    response = api.post(HEADER.encode(), "/events/void", Content_Type="text/csv")
    assert response.status_code == 415
