"""Kafka clients, topics and their ends, and what Kafka's errors mean."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from events.config import Settings
from events.errors import InvalidInput, StoreRefused, StoreUnavailable

log = logging.getLogger(__name__)

#: Partitions of a topic that we create. More partitions allow more consumers.
PARTITIONS = 12
_CREATE_TIMEOUT_SECONDS = 30.0
_CHECK_TIMEOUT_SECONDS = 2.0
#: Members of a group, unless the properties file says otherwise (decision 15).
_MEMBERSHIP = {
    # A killed member is removed after this time, the shortest that brokers allow by default.
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "1000",
    # A member that does not poll is removed after this time.
    "max.poll.interval.ms": "300000",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach Kafka."""

    #: `host:port`, several separated by commas.
    bootstrap_servers: str
    #: A file of further librdkafka properties, or empty.
    properties_file: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Cluster:
        return cls(settings.events_kafka_bootstrap_servers, settings.events_kafka_properties_file)


def dead_letter_topic(topic: str) -> str:
    """The topic for messages of `topic` that cannot be counted."""
    return f"{topic}.dead-letter"


def properties(cluster: Cluster) -> dict[str, Any]:
    """The librdkafka properties that all our clients share."""
    return {
        **_read_properties(cluster.properties_file),
        "bootstrap.servers": cluster.bootstrap_servers,
        # Without a logger librdkafka writes to standard error itself.
        "logger": log,
    }


def make_producer(cluster: Cluster, **more: Any) -> Producer:
    """A producer whose acknowledgement means: on all in-sync replicas, once, in order."""
    configuration = {
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        # The default of Kafka's Java clients: their producers and ours put a key into the same
        # partition.
        "partitioner": "murmur2_random",
    }
    return _make(Producer, cluster, configuration | more)


def make_consumer(cluster: Cluster, *, group: str, **more: Any) -> Consumer:
    """A consumer without automatic commits; it starts at the earliest message by default."""
    configuration = {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        # A missing topic must be an error, not an empty topic.
        "allow.auto.create.topics": False,
        # By default a reader that emptied its queue may wait a second for more messages.
        "fetch.queue.backoff.ms": 10,
    }
    return _make(Consumer, cluster, _membership(cluster) | configuration | more)


def _membership(cluster: Cluster) -> dict[str, str]:
    chosen = properties(cluster)
    return {name: chosen.get(name, default) for name, default in _MEMBERSHIP.items()}


def membership_seconds(cluster: Cluster) -> tuple[float, float]:
    """After how long a group removes a member that was killed, and one that does not poll."""
    values = _membership(cluster)
    return (
        int(values["session.timeout.ms"]) / 1000,
        int(values["max.poll.interval.ms"]) / 1000,
    )


def make_admin(cluster: Cluster) -> AdminClient:
    return _make(AdminClient, cluster, {})


_Client = TypeVar("_Client")
#: librdkafka repeats an invalid value, which may be a secret that stands after the wrong name.
_INVALID_VALUE = re.compile(r'Invalid value ".*" for', re.DOTALL)


def _make(
    client: Callable[[dict[str, Any]], _Client], cluster: Cluster, more: Mapping[str, Any]
) -> _Client:
    try:
        return client({**properties(cluster), **more})
    except KafkaException as exc:
        message = _INVALID_VALUE.sub("Invalid value for", exc.args[0].str())
    # Not raised from `exc`, whose text has the value.
    raise InvalidInput(f"EVENTS_KAFKA_PROPERTIES_FILE: {message}")


def _read_properties(file: str) -> Mapping[str, str]:
    """Read a properties file: one `name=value` a line; lines that start with # are comments."""
    if not file:
        return {}
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"EVENTS_KAFKA_PROPERTIES_FILE: cannot read {file}: {exc}") from exc
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals:
            problem = f"{file}, line {number} is not name=value"
            raise InvalidInput(f"EVENTS_KAFKA_PROPERTIES_FILE: {problem}")
        values[name.strip()] = value.strip()
    return values


# --- topics ---------------------------------------------------------------------------------------


def ensure_topics(
    cluster: Cluster,
    *names: str,
    partitions: int = PARTITIONS,
    timeout_seconds: float = _CREATE_TIMEOUT_SECONDS,
    configuration: Mapping[str, str] | None = None,
) -> None:
    """
    Create the topics that do not exist; raises as `map_errors`.

    `configuration` are properties of the topics that are created.
    """
    admin = make_admin(cluster)
    existing = set()
    described = admin.describe_topics(TopicCollection(list(names)), request_timeout=timeout_seconds)
    for name, future in described.items():
        with map_errors(f"cannot look up the topic {name}", ignored=_NOT_VISIBLE):
            future.result()
            existing.add(name)
    topics = [
        # -1: the broker's default replication factor (KIP-464).
        NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=-1,
            config=dict(configuration or {}),
        )
        for name in names
        if name not in existing
    ]
    if not topics:
        # A consumer of existing topics may lack the right to create topics.
        return
    for name, future in admin.create_topics(topics, request_timeout=timeout_seconds).items():
        with map_errors(
            f"cannot create the topic {name}", ignored={KafkaError.TOPIC_ALREADY_EXISTS}
        ):
            future.result()


def check_topic(client: Any, topic: str, timeout_seconds: float = _CHECK_TIMEOUT_SECONDS) -> None:
    """
    Check that the brokers answer and that a topic can be used; raises as `map_errors`.

    `client` is an admin client, or a consumer that this thread polls: librdkafka's consumer hangs
    for good if another thread polls it meanwhile (confluent-kafka 2.16).
    """
    with map_errors("Kafka does not answer"):
        metadata = client.list_topics(topic, timeout=timeout_seconds).topics[topic]
    if metadata.error is not None:
        raise error_of(metadata.error, f"cannot use the topic {topic}")


# --- errors ---------------------------------------------------------------------------------------


def error_of(error: KafkaError, problem: str) -> StoreUnavailable | StoreRefused:
    """Our error for a Kafka error: `StoreUnavailable` if a retry may help, else `StoreRefused`."""
    may_pass = error.retriable() or error.code() in _TRANSIENT
    return (StoreUnavailable if may_pass else StoreRefused)(f"{problem}: Kafka says {error.name()}")


@contextmanager
def map_errors(problem: str, *, ignored: Collection[int] = ()) -> Iterator[None]:
    """Turn the client's exceptions into ours, as `error_of` does."""
    try:
        yield
    except KafkaException as exc:
        if exc.args[0].code() not in ignored:
            raise error_of(exc.args[0], problem) from exc


_NOT_VISIBLE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED})
#: Errors of a single broker; librdkafka tries another broker and reports if none is left.
OF_ONE_BROKER = frozenset(
    {
        KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
    }
)  # fmt: skip
#: Errors that the protocol calls retriable; librdkafka's `retriable` covers producer errors only.
#: An unknown topic is not among them: the name may be wrong.
_TRANSIENT = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN, KafkaError._MSG_TIMED_OUT, KafkaError._RESOLVE,
        KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.KAFKA_STORAGE_ERROR, KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION, KafkaError.NOT_CONTROLLER, KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE, KafkaError.REQUEST_TIMED_OUT,
        # The broker failed in a way of its own, as tiered storage does right after a restart.
        KafkaError.UNKNOWN, KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)  # fmt: skip
