"""Why a group member reads nothing: no broker answers, Kafka refuses, or the group rebalances."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from events.errors import StoreUnavailable
from events.kafka.clients import Cluster, membership_seconds
from events.kafka.standing import Standing

REBALANCING = (
    "waiting for partitions: the consumer group counts rebalances until all its members have "
    "joined again; it removes a killed member after 6 s, and one that hangs after 300 s"
)
AWAY = KafkaError(KafkaError._ALL_BROKERS_DOWN)


@pytest.fixture
def standing() -> Standing:
    """A member that waits for its group since the time 100."""
    standing = Standing.of(Cluster("here:9092"), "counts")
    standing.begin(100)
    return standing


def test_a_rebalance_is_named_with_its_bounds(standing: Standing) -> None:
    assert standing.problem == REBALANCING
    standing.join(101)
    assert standing.problem is None
    standing.lose(102)
    assert standing.problem == REBALANCING


def test_kafka_does_not_answer_only_if_no_broker_does(standing: Standing) -> None:
    assert Standing.of(Cluster("here:9092"), "counts").problem == "Kafka does not answer"
    standing.fail(AWAY, 101)
    assert (standing.problem, standing.may_recover) == ("Kafka does not answer", True)
    standing.begin(102)
    assert standing.problem == REBALANCING
    standing.fail(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), 103)
    refused = "Kafka says GROUP_AUTHORIZATION_FAILED"
    assert (standing.problem, standing.may_recover) == (refused, False)


def test_patience_is_for_failures_and_a_rebalance_may_take_longer(standing: Standing) -> None:
    standing.check_patience(100 + 306 + 60, 60)
    with pytest.raises(StoreUnavailable, match=r"^waiting for partitions: "):
        standing.check_patience(100 + 306 + 61, 60)
    standing.fail(AWAY, 1_000)
    standing.check_patience(1_060, 60)
    with pytest.raises(StoreUnavailable, match=r"^Kafka does not answer$"):
        standing.check_patience(1_061, 60)
    standing.join(1_062)
    standing.check_patience(10_000, 60)


def test_a_long_rebalance_is_logged_once(
    standing: Standing, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for now in (104, 106, 108):
            standing.step(now)
    assert caplog.messages == [REBALANCING]


def test_the_properties_file_chooses_how_soon_a_member_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("session.timeout.ms=30000\n", encoding="utf-8")
    assert membership_seconds(Cluster("here:9092", str(file))) == (30, 300)
