"""Customers of any name are asked about by their escaped id, and never mistaken for another."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.support.api import DAY_ONE, Api, bad_request, customer_path, problem, settled
from tests.support.factories import event

ODD_IDS = [
    "a/b", "a%b", "a%2Fb", "a%252Fb", "a?b", "a?start=1", "a#b", "a b", "a+b", "a&b=c;d", "a\\b",
    "a/buckets", "buckets", "/", "//", "a/", "/buckets/", "100%", "%", "%2F", "é", "e\u0301",
    "日本", "😀", "\u200b", "acme/../b", "'\"<>", "x" * 2048, "日" * 682,
]  # fmt: skip


def test_odd_ids(api: Api) -> None:
    numbers = {customer_id: index + 1 for index, customer_id in enumerate(ODD_IDS)}
    api.service.ingest(
        [
            event(f"t-{index}", customer_id=customer_id)
            for customer_id, number in numbers.items()
            for index in range(number)
        ]
    )
    for customer_id, number in numbers.items():
        body = settled(api.buckets(DAY_ONE, customer_id=customer_id))
        assert (body["customer_id"], body["total"]) == (customer_id, number)
        summary = settled(api.get(f"{customer_path(customer_id)}/summary"))
        assert (summary["customer_id"], summary["total"]) == (customer_id, number)
        page = api.get(f"{customer_path(customer_id)}/events").json()
        assert {row["customer_id"] for row in page["events"]} == {customer_id}

    unescaped = settled(api.get(f"/events/customers/a/buckets/buckets?{DAY_ONE}"))
    assert unescaped["customer_id"] == "a/buckets"
    trailing = api.get(f"/events/customers/{quote('a%2Fb')}/buckets/?{DAY_ONE}")
    assert trailing.status_code == 404 or trailing.json()["customer_id"] == "a%2Fb"


@pytest.mark.parametrize(
    ("path", "errors"),
    [
        ("", {"customer_id": "is empty"}),
        ("%20a", {"customer_id": "has white space at its start or end"}),
        ("a%00b", {"customer_id": "has the control character U+0000 at position 2"}),
        ("a%0A", {"customer_id": "has the control character U+000A at position 2"}),
        ("a%C2%85", {"customer_id": "has the control character U+0085 at position 2"}),
        ("x" * 2049, {"customer_id": "has 2,049 bytes of UTF-8, more than 2,048"}),
        ("a%ffb", {"path": "is not valid UTF-8"}),
        ("%ED%A0%80", {"path": "is not valid UTF-8"}),
        ("%C3", {"path": "is not valid UTF-8"}),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_an_invalid_id_is_a_400(api: Api, path: str, errors: dict[str, str]) -> None:
    response = api.get(f"/events/customers/{path}/buckets?{DAY_ONE}")
    assert problem(response) == bad_request(**errors)
