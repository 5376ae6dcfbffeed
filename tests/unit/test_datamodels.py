"""The tables, their keys, and the expressions that write them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from events.datamodels import (
    REGISTRY,
    Tables,
    counter_bounds,
    counter_key,
    day_counts_of,
    event_key,
    event_of,
    key_bounds,
    registry_item,
    registry_key,
    registry_prefix,
)
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp
from events.dynamodb.expressions import put_actions, repair_expressions
from events.errors import InvalidEvent
from events.models import DayCounts, Event, Window

HOUR_ZERO = datetime(2021, 3, 1, tzinfo=UTC)
NOW = datetime(2021, 3, 5, 12, 30, 0, 250_000, tzinfo=UTC)
EARLIER = datetime(2021, 3, 4, tzinfo=UTC)
NOW_TEXT = "2021-03-05T12:30:00.250000Z"
TABLES = Tables.named("customer_events")


def event(event_type: str, transaction_id: str, minutes: float = 0) -> Event:
    return Event("c", event_type, transaction_id, HOUR_ZERO + timedelta(minutes=minutes))


# Tables


def test_all_table_names_derive_from_one() -> None:
    assert Tables.named("customer_events") == Tables(
        "customer_events", "customer_events_hourly_counts", "customer_events_changes"
    )


def test_table_definitions() -> None:
    def definition(table: str, sort_key: str, partition_key: str = "customer_id") -> dict[str, Any]:
        return {
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [
                {"AttributeName": partition_key, "KeyType": "HASH"},
                {"AttributeName": sort_key, "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": partition_key, "AttributeType": "S"},
                {"AttributeName": sort_key, "AttributeType": "S"},
            ],
        }

    assert Tables.named("x").definitions() == (
        definition("x", "event_key"),
        definition("x_hourly_counts", "counter_key"),
        definition("x_changes", "change_key", "change_slot"),
    )


# Events


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (event("view", "t"), "2021-03-01T00:00:00.000000Z-view-t"),
        (event("a-b", "c"), "2021-03-01T00:00:00.000000Z-a%2Db-c"),
        (event("a", "b-c"), "2021-03-01T00:00:00.000000Z-a-b-c"),
        (event("100%", "t"), "2021-03-01T00:00:00.000000Z-100%25-t"),
        (event("%2D", "%2D"), "2021-03-01T00:00:00.000000Z-%252D-%2D"),
        (event("a#b", "c#d"), "2021-03-01T00:00:00.000000Z-a#b-c#d"),
        (event("-", "-"), "2021-03-01T00:00:00.000000Z-%2D--"),
        (event("żółw", "🐢"), "2021-03-01T00:00:00.000000Z-żółw-🐢"),
        (
            Event("c", "e", "t", datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
            "0001-01-01T00:00:00.000001Z-e-t",
        ),
    ],
)
def test_an_event_and_its_key_convert_both_ways(value: Event, key: str) -> None:
    assert event_key(value) == key
    assert event_of("c", key) == value
    assert event_of("c", key).timestamp.tzinfo is UTC


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        "2021-03-01T00:00:00.000000Z",
        "2021-03-01T00:00:00.000000Z-",
        "2021-03-01T00:00:00.000000Z-view",
        "2021-03-01T00:00:00.000000Z_view-t",
        "2021-03-01T00:00:00.000000+-view-t",
        "2021-03-01 00:00:00.000000Z-view-t",
        "2021-03-01T00:00:00.0000000-view-t",
        "2021-02-30T00:00:00.000000Z-view-t",
        "2021-03-01T00:00:00.0+01:00-view-t",
        "0001-01-01T00:00:00.0+01:00-view-t",
        "9999-12-31T23:59:59.9-01:00-view-t",
        "2021-03-01T00:00:00.000000Z-%-t",
        "2021-03-01T00:00:00.000000Z-%2d-t",
        "2021-03-01T00:00:00.000000Z-%41-t",
        # These have the form, but no event has an empty type or transaction.
        "2021-03-01T00:00:00.000000Z--t",
        "2021-03-01T00:00:00.000000Z-view-",
        "total#2021-03-01",
    ],
)
def test_an_invalid_event_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        event_of("c", key)


def test_the_bounds_of_a_window_are_its_ends() -> None:
    assert key_bounds(Window(HOUR_ZERO, HOUR_ZERO + timedelta(hours=1))) == (
        "2021-03-01T00:00:00.000000Z",
        "2021-03-01T01:00:00.000000Z",
    )


# Counters


@pytest.mark.parametrize(
    ("event_type", "key"),
    [
        (None, "total#2021-03-01"),
        ("view", "type#2021-03-01#view"),
        ("a#b", "type#2021-03-01#a#b"),
        ("a-b%", "type#2021-03-01#a-b%"),
        ("total", "type#2021-03-01#total"),
    ],
)
def test_a_counter_key_is_read_back(event_type: str | None, key: str) -> None:
    assert counter_key("2021-03-01", event_type) == key
    assert day_counts_of(
        {"customer_id": {"S": "c"}, "counter_key": {"S": key}, "h00": {"N": "1"}}
    ) == DayCounts("c", "2021-03-01", event_type, {0: 1})


def test_bounds_hold_the_counters_of_the_days_and_no_others() -> None:
    days = ["2021-02-28", "2021-03-01", "2021-03-02", "2021-03-03"]
    types = ["a", "a#b", "!", "$", "~", "żółw", "🐢", None]
    keys = {counter_key(day, item): (day, item) for day in days for item in types} | {
        "a customer": ("", None)
    }

    def held(*, by_type: bool) -> set[tuple[str, str | None]]:
        low, high = counter_bounds("2021-03-01", "2021-03-02", by_type=by_type)
        return {
            value for key, value in keys.items() if low.encode() <= key.encode() <= high.encode()
        }

    assert held(by_type=False) == {("2021-03-01", None), ("2021-03-02", None)}
    assert held(by_type=True) == {(day, item) for day in days[1:3] for item in types[:-1]}


def test_a_counter_item_gives_the_hours_above_zero() -> None:
    item: Mapping[str, Any] = {
        "customer_id": {"S": "c"},
        "counter_key": {"S": "total#2021-03-01"},
        "h00": {"N": "12"},
        "h01": {"N": "0"},
        "h23": {"N": "9007199254740993"},
        "updated_at": {"S": NOW_TEXT},
    }

    assert day_counts_of(item) == DayCounts(
        "c", "2021-03-01", None, {0: 12, 23: 9_007_199_254_740_993}, NOW
    )


# Writing


def test_events_are_put_on_condition_and_counted_once_per_counter() -> None:
    events = [
        event("view", "t1", 5),
        event("a-b", "t2", 65),
        event("view", "t3", 70),
        event("view", "t4", 75),
    ]

    def put(key: str) -> dict[str, Any]:
        return {
            "Put": {
                "TableName": "customer_events",
                "Item": {
                    "customer_id": {"S": "c"},
                    "event_key": {"S": key},
                    "ingested_at": {"S": NOW_TEXT},
                },
                "ConditionExpression": "attribute_not_exists(customer_id)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def add(key: str, expression: str, **counts: str) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": "customer_events_hourly_counts",
                "Key": {"customer_id": {"S": "c"}, "counter_key": {"S": key}},
                "UpdateExpression": expression,
                "ExpressionAttributeValues": {
                    **{f":{name}": {"N": count} for name, count in counts.items()},
                    ":now": {"S": NOW_TEXT},
                },
            }
        }

    both = "ADD h00 :h00, h01 :h01 SET updated_at = :now"
    total = add("total#2021-03-01", both, h00="1", h01="3")
    total["Update"]["ConditionExpression"] = "attribute_not_exists(shards)"
    assert put_actions(TABLES, events, NOW) == [
        put("2021-03-01T00:05:00.000000Z-view-t1"),
        put("2021-03-01T01:05:00.000000Z-a%2Db-t2"),
        put("2021-03-01T01:10:00.000000Z-view-t3"),
        put("2021-03-01T01:15:00.000000Z-view-t4"),
        total,
        add("type#2021-03-01#view", both, h00="1", h01="2"),
        add("type#2021-03-01#a-b", "ADD h01 :h01 SET updated_at = :now", h01="1"),
    ]


def holds(condition: str, item: Mapping[str, int], values: Mapping[str, Any]) -> bool:
    """Whether an item meets a condition made of the two forms that a repair uses."""

    def clause_holds(clause: str) -> bool:
        match = re.fullmatch(
            r"(\(attribute_not_exists\((h\d\d)\) OR )?(h\d\d) = (:was_h\d\d)\)?", clause
        )
        assert match is not None, clause
        absent, named, hour, value = match.groups()
        assert named in (None, hour)
        return item.get(hour) == int(values[value]["N"]) or (bool(absent) and hour not in item)

    return all(clause_holds(clause) for clause in condition.split(" AND "))


SEEN = DayCounts("c", "2021-03-01", None, {0: 5, 7: 2, 9: 4}, EARLIER)


@pytest.mark.parametrize(
    ("key", "hours"),
    [
        ("total#2021-03-01x", {}),
        ("total#2021-03-01#view", {}),
        ("total#2021-02-30", {}),
        ("total#20210301", {}),
        ("type#2021-03-01", {}),
        ("sum#2021-03-01", {}),
        ("total#2021-03-01", {"h05": {"N": "1.5"}}),
        ("total#2021-03-01", {"h05": {"S": "1"}}),
    ],
)
def test_a_foreign_item_is_not_a_counter(key: str, hours: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"not a counter|not a number|invalid literal|isoformat|out of range"
    ):
        day_counts_of({"customer_id": {"S": "c"}, "counter_key": {"S": key}, **hours})


def test_a_repair_sets_the_hours_that_differ() -> None:
    update, _, values = repair_expressions(SEEN, {0: 5, 7: 3, 23: 1}, NOW)

    assert update == (
        "SET repaired_at = :now, updated_at = if_not_exists(updated_at, :now), "
        "h07 = :now_h07, h09 = :now_h09, h23 = :now_h23"
    )
    assert {name: value for name, value in values.items() if name.startswith(":now")} == {
        ":now": {"S": NOW_TEXT},
        ":now_h07": {"N": "3"},
        ":now_h09": {"N": "0"},
        ":now_h23": {"N": "1"},
    }


def test_a_repair_uses_every_value_it_names_and_only_those() -> None:
    update, condition, values = repair_expressions(SEEN, {0: 1}, NOW)

    assert set(re.findall(r":\w+", f"{update} {condition}")) == set(values)
    assert len(condition.split(" AND ")) == 25


@pytest.mark.parametrize(
    ("item", "is_met"),
    [
        pytest.param({"h00": 5, "h07": 2, "h09": 4}, True, id="as it was seen"),
        pytest.param({"h00": 5, "h07": 2, "h09": 4, "h23": 0}, True, id="zero for absent"),
        pytest.param({"h00": 6, "h07": 2, "h09": 4}, False, id="a count has moved"),
        pytest.param({"h00": 5, "h07": 2, "h09": 4, "h23": 1}, False, id="a new hour"),
        pytest.param({"h00": 5, "h07": 2}, False, id="an hour is gone"),
        pytest.param({"h00": 5, "h07": 2, "h09": 0}, False, id="an hour at zero"),
        pytest.param({}, False, id="no item"),
    ],
)
def test_a_repair_requires_the_counter_that_was_seen(item: dict[str, int], is_met: bool) -> None:
    _, condition, values = repair_expressions(SEEN, {0: 1}, NOW)
    when, _, hours = condition.partition(" AND ")

    assert when == "updated_at = :seen"
    assert values.pop(":seen") == {"S": format_timestamp(EARLIER)}
    assert holds(hours, item, values) is is_met


def test_a_missing_counter_is_repaired_only_while_missing() -> None:
    nothing = DayCounts("c", "2021-03-01", "view", {})

    update, condition, values = repair_expressions(nothing, {3: 8}, NOW)

    when, _, hours = condition.partition(" AND ")
    assert update == (
        "SET repaired_at = :now, updated_at = if_not_exists(updated_at, :now), h03 = :now_h03"
    )
    assert when == "attribute_not_exists(updated_at)"
    assert holds(hours, {}, values)
    assert not holds(hours, {"h03": 1}, values)


# The registry


def test_no_customer_id_equals_the_registry_partition() -> None:
    with pytest.raises(InvalidEvent):
        check_customer_id(REGISTRY)


@pytest.mark.parametrize("customer_id", ["c", "a b", "c" * 1_024, "é" * 512])
def test_a_customer_is_registered_under_its_id(customer_id: str) -> None:
    assert registry_key(customer_id) == customer_id


@pytest.mark.parametrize(
    ("customer_id", "start"),
    [
        ("c" * 1_025, "c" * 900),
        ("🐢" * 512, "🐢" * 225),
        ("c" + "é" * 512, "c" + "é" * 449),
    ],
    ids=["one byte each", "four bytes each", "cut inside a character"],
)
def test_a_long_id_is_registered_under_its_start_and_digest(customer_id: str, start: str) -> None:
    key = registry_key(customer_id)

    assert key.startswith(f"{start} {sha256(customer_id.encode()).hexdigest()}")
    assert len(key.encode()) <= 1_024


def test_no_id_equals_the_registry_key_of_a_long_id() -> None:
    # Otherwise a customer with this id overwrites the other's entry, which is then not listed.
    with pytest.raises(InvalidEvent):
        check_customer_id(registry_key("c" * 1_025))


@pytest.mark.parametrize(
    ("prefix", "start"),
    [("", ""), ("cust", "cust"), ("x" * 2_000, "x" * 900), ("c" + "é" * 512, "c" + "é" * 449)],
    ids=["none", "short", "long", "cut inside a character"],
)
def test_a_prefix_is_cut_to_what_registry_keys_keep(prefix: str, start: str) -> None:
    assert registry_prefix(prefix) == start


def test_a_registry_item_holds_the_whole_id() -> None:
    assert registry_item("c" * 1_025, NOW) == {
        "customer_id": {"S": " customers"},
        "counter_key": {"S": registry_key("c" * 1_025)},
        "registered_id": {"S": "c" * 1_025},
        "registered_at": {"S": NOW_TEXT},
    }
