"""Whether the brokers answer, and know a topic."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException

from events.config import Settings
from events.kafka.clients import error_of, make_admin

_PATIENCE_SECONDS = 2.0
#: librdkafka goes on with another broker, or tries again, and says it when there is none left.
OF_ONE_BROKER = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
    }
)


class TopicCheck:
    """
    Asks for one topic. One thread uses it.

    It has a client of its own: librdkafka's consumer hangs for good when one thread asks it for
    topics while another polls it (confluent-kafka 2.16).
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        self._client = make_admin(settings)
        self._topic = topic

    def __call__(self) -> None:
        """Return once they have answered; raises `StoreUnavailable` or `StoreRefused`."""
        check_topic(self._client, self._topic, _PATIENCE_SECONDS)


def check_topic(client: Any, topic: str, timeout_seconds: float) -> None:
    """
    Ask for a topic.

    Args:
        client: A consumer of this thread, or an admin client.

    Raises:
        StoreUnavailable: They do not answer in time.
        StoreRefused: They do not know it, or do not let us.
    """
    try:
        found = client.list_topics(topic, timeout=timeout_seconds).topics[topic]
    except KafkaException as exc:
        raise error_of(exc.args[0], "Kafka does not answer") from exc
    if found.error is not None:
        raise error_of(found.error, f"the topic {topic} cannot be used")
