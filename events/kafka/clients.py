"""Settings to Kafka clients, and the topics that they need."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from events.config import Settings
from events.errors import InvalidInput, StoreRefused, StoreUnavailable

log = logging.getLogger(__name__)

#: Added to the topic's name for the messages that no event could be made of.
DEAD_LETTER_SUFFIX = ".dead-letter"
#: Partitions of a new topic.
PARTITIONS = 12
_SECONDS_TO_MAKE_TOPICS = 30.0
_FETCH_AGAIN_MILLISECONDS = 10


def dead_letter_topic(settings: Settings) -> str:
    return f"{settings.events_kafka_topic}{DEAD_LETTER_SUFFIX}"


def properties(settings: Settings) -> dict[str, Any]:
    """
    What every client of ours is made with (librdkafka's "Configuration properties").

    Raises:
        InvalidInput: The file of properties cannot be read.
    """
    return {
        **_read(settings.events_kafka_properties_file),
        "bootstrap.servers": settings.events_kafka_bootstrap_servers,
        # Without this it writes to standard error itself.
        "logger": log,
    }


def make_producer(settings: Settings, **more: Any) -> Producer:
    """A producer whose acknowledgement means: on all replicas in sync, once, in order."""
    return _made(
        Producer,
        {
            **properties(settings),
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            # As Kafka's own clients place a key, so that theirs and ours share a partition.
            "partitioner": "murmur2_random",
            **more,
        },
    )


def make_consumer(settings: Settings, *, group: str, **more: Any) -> Consumer:
    """A consumer that commits nothing by itself and begins where nothing is committed at 0."""
    return _made(
        Consumer,
        {
            **properties(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            # Where a topic is missing, that is an error and no silence.
            "allow.auto.create.topics": False,
            # Whoever has emptied the queue of a partition would wait up to a second for more.
            "fetch.queue.backoff.ms": _FETCH_AGAIN_MILLISECONDS,
            **more,
        },
    )


def make_admin(settings: Settings) -> AdminClient:
    """What asks for topics and groups, and makes them."""
    return _made(AdminClient, properties(settings))


_Client = TypeVar("_Client")
#: What librdkafka says of a value; it may be one that was put behind the wrong name.
_VALUE = re.compile(r'Invalid value ".*" for', re.DOTALL)


def _made(kind: Callable[[dict[str, Any]], _Client], configuration: dict[str, Any]) -> _Client:
    try:
        return kind(configuration)
    except KafkaException as exc:
        said = _VALUE.sub("Invalid value for", exc.args[0].str())
    raise InvalidInput(f"EVENTS_KAFKA_PROPERTIES_FILE: {said}")


def ensure_topics(
    settings: Settings,
    *names: str,
    timeout_seconds: float = _SECONDS_TO_MAKE_TOPICS,
    partitions: int = PARTITIONS,
) -> None:
    """
    Make topics that are not there; those that are stay as they are.

    Raises:
        StoreUnavailable: No broker answered in time.
        StoreRefused: The broker will not make one.
    """
    admin = make_admin(settings)
    topics = [
        # -1 is what the broker is set to (KIP-464).
        NewTopic(name, num_partitions=partitions, replication_factor=-1)
        for name in _missing(admin, names, timeout_seconds)
    ]
    if not topics:
        # To make one that is there takes rights that whoever reads it need not have.
        return
    futures = admin.create_topics(topics, request_timeout=timeout_seconds)
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as exc:
            error = exc.args[0]
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            raise error_of(error, f"the topic {name} could not be made") from exc


def _missing(admin: AdminClient, names: Sequence[str], timeout_seconds: float) -> list[str]:
    """The topics that are not there, or that we may not see."""
    missing = []
    asked = TopicCollection(list(names))
    for name, future in admin.describe_topics(asked, request_timeout=timeout_seconds).items():
        try:
            future.result()
        except KafkaException as exc:
            error = exc.args[0]
            if error.code() not in _UNSEEN:
                raise error_of(error, f"the topic {name} could not be asked for") from exc
            missing.append(name)
    return missing


def error_of(error: KafkaError, what: str) -> StoreUnavailable | StoreRefused:
    """What an error of Kafka's means for whoever asked: to try again, or that it will not help."""
    is_passing = error.retriable() or error.code() in _PASSING
    return (StoreUnavailable if is_passing else StoreRefused)(f"{what}: Kafka said {error.name()}")


_UNSEEN = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED})
#: What the protocol calls retriable, librdkafka's `retriable` says of errors of a producer alone.
#: Left out: a topic that is not known, which a wrong name is as well.
_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        # The leader of a partition has just changed, or a topic was just made.
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)


def _read(file: str) -> Mapping[str, str]:
    """A file of properties, one `name=value` a line, # before a remark."""
    if not file:
        return {}
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"EVENTS_KAFKA_PROPERTIES_FILE: {file} cannot be read: {exc}") from exc
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals:
            raise InvalidInput(
                f"EVENTS_KAFKA_PROPERTIES_FILE: {file}, line {number} is not name=value"
            )
        found[name.strip()] = value.strip()
    return found
