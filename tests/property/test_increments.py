"""Increments are what counting by hand gives, however the events are ordered and split."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from events.datamodels import Tables, counter_key, event_key
from events.dynamodb.expressions import DayIncrements, day_increments, put_actions
from events.models import Event
from tests.property.strategies import HOUR_ZERO, events_of_a_day


def by_hand(events: list[Event]) -> Counter[tuple[str | None, int]]:
    types = Counter[tuple[str | None, int]]((e.event_type, e.timestamp.hour) for e in events)
    return types + Counter((None, event.timestamp.hour) for event in events)


def flat(increments: DayIncrements) -> Counter[tuple[str | None, int]]:
    return Counter(
        {(key, hour): count for key, hours in increments.items() for hour, count in hours.items()}
    )


@given(events_of_a_day())
def test_increments_equal_a_count_by_hand(events: list[Event]) -> None:
    increments = day_increments(events)

    assert flat(increments) == by_hand(events)
    assert all(count > 0 for hours in increments.values() for count in hours.values())
    assert all(hours for hours in increments.values())


@given(events_of_a_day().flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_of_events_does_not_matter(orders: tuple[list[Event], list[Event]]) -> None:
    one, other = orders

    assert day_increments(one) == day_increments(other)


@given(events_of_a_day(), st.integers(1, 20))
def test_increments_of_batches_sum_to_the_whole(events: list[Event], size: int) -> None:
    batches = [events[start : start + size] for start in range(0, len(events), size)]

    total = sum((flat(day_increments(batch)) for batch in batches), Counter())

    assert total == flat(day_increments(events))


@given(events_of_a_day().filter(bool))
def test_a_write_changes_no_item_twice_and_counts_its_events(events: list[Event]) -> None:
    actions: list[Any] = [*put_actions(Tables.named("t"), events, HOUR_ZERO)]

    puts = [action["Put"]["Item"]["event_key"]["S"] for action in actions if "Put" in action]
    updates = [action["Update"] for action in actions if "Update" in action]
    added = [
        (update["Key"]["counter_key"]["S"], int(name.removeprefix(":h")), int(value["N"]))
        for update in updates
        for name, value in update["ExpressionAttributeValues"].items()
        if name != ":now"
    ]
    touched = [update["Key"]["counter_key"]["S"] for update in updates]
    assert puts == [event_key(event) for event in events]
    assert len(touched) == len(set(touched)) == len(actions) - len(puts)
    assert sorted(added) == sorted(
        (counter_key("2021-03-01", event_type), hour, count)
        for (event_type, hour), count in by_hand(events).items()
    )
