"""POST /events/void, and what the store keeps of a voided event."""

from __future__ import annotations

import pytest

from tests.support.api import DAY_ONE, Api, errors_of, receipts
from tests.support.factories import HOUR, HOUR_ZERO, event, expected_contents
from tests.support.sqlstore import MemoryStore


def test_a_late_retry_does_not_bring_voided_events_back(api: Api, memory: MemoryStore) -> None:
    events = [event(f"t-{number}", timestamp=HOUR_ZERO + number * HOUR) for number in range(5)]
    api.send(*events)
    response = api.void(events[1], events[3], events[1], event("never"), reason="wrong tariff")
    assert (response.status_code, response.json()) == (
        200,
        {
            "voided": 2,
            "already_voided": 1,
            "not_found": 1,
            "rejected": 0,
            "results": receipts("voided", "voided", "already_voided", "not_found"),
        },
    )
    assert api.buckets(DAY_ONE).json()["total"] == 3
    again = api.send(*events).json()
    assert (again["duplicates"], again["voided"]) == (3, 2)
    assert again["results"] == receipts("duplicate", "voided", "duplicate", "voided", "duplicate")
    assert memory.contents() == expected_contents(
        events, voided=[events[1], events[3]], reason="wrong tariff"
    )
    assert api.service.verify().is_equal


def test_only_the_invalid_event_is_rejected(api: Api) -> None:
    api.send(event("a"))
    response = api.void({"customer_id": "acme"}, event("a"))
    assert response.status_code == 207
    assert response.json()["results"] == [
        {"index": 0, "status": "rejected", "error": "event_type: is missing"},
        {"index": 1, "status": "voided"},
    ]
    assert errors_of(api.void(1)) == {"events.0": "is a number, not an object"}


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        ("", "is empty"),
        (7, "is a number, not a string"),
        (None, "is null, not a string"),
        ("a\nb", "has the control character U+000A at position 2"),
        ("\ud800", "is not valid UTF-8"),
        ("x" * 501, "has 501 characters, more than 500"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_an_invalid_reason_is_a_400(api: Api, reason: object, detail: str) -> None:
    assert errors_of(api.void(event("a"), reason=reason)) == {"reason": detail}


def test_the_reason_is_required_and_given_once(api: Api) -> None:
    assert errors_of(api.post({"events": [1]}, "/events/void")) == {"reason": "is missing"}
    twice = b'{"reason": "a", "events": [1], "reason": "b"}'
    assert errors_of(api.post(twice, "/events/void")) == {"body": "has a field twice"}
