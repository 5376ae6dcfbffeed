"""What events add to the counters of their day."""

from datetime import UTC, datetime, timedelta

import pytest

from events.dynamodb.expressions import DayIncrements, day_increments
from events.models import Event

HOUR_ZERO = datetime(2021, 3, 1, tzinfo=UTC)


def event(event_type: str, minutes: float, transaction_id: str = "t") -> Event:
    return Event("c", event_type, transaction_id, HOUR_ZERO + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("events", "increments"),
    [
        pytest.param([], {}, id="no events"),
        pytest.param([event("view", 0)], {None: {0: 1}, "view": {0: 1}}, id="one event"),
        pytest.param(
            [event("view", 59.9), event("view", 60), event("view", 1439.9)],
            {None: {0: 1, 1: 1, 23: 1}, "view": {0: 1, 1: 1, 23: 1}},
            id="both sides of an hour's end",
        ),
        pytest.param(
            [
                event("view", 70),
                event("view", 5, "t1"),
                event("view", 5, "t2"),
                event("buy", 5),
                event("buy", 600),
            ],
            {None: {0: 3, 1: 1, 10: 1}, "view": {0: 2, 1: 1}, "buy": {0: 1, 10: 1}},
            id="two types",
        ),
        pytest.param(
            [event("None", 0), event("total", 0)],
            {None: {0: 2}, "None": {0: 1}, "total": {0: 1}},
            id="types named like the total",
        ),
        pytest.param(
            [event("View", 0), event("view", 0)],
            {None: {0: 2}, "View": {0: 1}, "view": {0: 1}},
            id="types that differ in case",
        ),
    ],
)
def test_increments_are_the_total_and_each_type_by_hour(
    events: list[Event], increments: DayIncrements
) -> None:
    assert day_increments(events) == increments
    assert day_increments(reversed(events)) == increments
