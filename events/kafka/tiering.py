"""Topics whose history is in tiered storage: the broker keeps their newest part only."""

from __future__ import annotations

from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from events.kafka.clients import Cluster, ensure_topics, make_admin, map_errors

#: For one machine: the smallest segments, on the broker's disk for seconds, and kept forever.
_PROPERTIES = {
    "remote.storage.enable": "true",
    "segment.bytes": "1048576",
    "local.retention.ms": "2000",
    "retention.ms": "-1",
}


def tier_topic(cluster: Cluster, topic: str) -> None:
    """Move a topic's closed segments to tiered storage; creates the topic if it is missing."""
    ensure_topics(cluster, topic)
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in _PROPERTIES.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = make_admin(cluster)
    with map_errors(f"cannot tier the topic {topic}"):
        admin.incremental_alter_configs([resource])[resource].result()
