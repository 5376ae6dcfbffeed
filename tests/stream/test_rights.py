"""What whoever may read and write topics, and no more, can do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from events.config import Settings
from events.errors import StoreRefused
from events.kafka import deadletters
from events.kafka.clients import dead_letter_topic, ensure_topics, make_admin
from events.kafka.health import check_topic
from events.local import kafka
from tests.support.shell import until

_AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


def _rule(
    kind: ResourceType, name: str, operation: AclOperation, permission: AclPermissionType
) -> AclBinding:
    literal = ResourcePatternType.LITERAL
    return AclBinding(kind, name, literal, "User:ANONYMOUS", "*", operation, permission)


@pytest.fixture(scope="module")
def limited(broker: kafka.KafkaLocal) -> Iterator[Settings]:
    """Settings of a broker whose topics are there, and that lets nobody make more."""
    del broker  # skips where there is no Kafka
    with kafka.start(properties=_AUTHORIZER) as server:
        settings = Settings(
            events_kafka_bootstrap_servers=server.bootstrap_servers, events_kafka_topic="there"
        )
        ensure_topics(settings, "there", dead_letter_topic(settings))
        cluster, allow, deny = (
            ResourceType.BROKER,
            AclPermissionType.ALLOW,
            AclPermissionType.DENY,
        )
        rules = [
            # The broker itself is the same user here.
            _rule(cluster, "kafka-cluster", AclOperation.ALL, allow),
            _rule(cluster, "kafka-cluster", AclOperation.CREATE, deny),
            _rule(ResourceType.TOPIC, "*", AclOperation.CREATE, deny),
            _rule(ResourceType.TOPIC, "*", AclOperation.DESCRIBE, allow),
            _rule(ResourceType.TOPIC, "hidden.dead-letter", AclOperation.DESCRIBE, deny),
        ]
        admin = make_admin(settings)
        for future in admin.create_acls(rules).values():
            future.result()
        # The controller and the broker each hear of it a little later.
        until(lambda: _is_refused(partial(ensure_topics, settings, uuid.uuid4().hex)))
        until(lambda: _is_refused(lambda: check_topic(admin, "hidden.dead-letter", 5)))
        yield settings


def _is_refused(ask: Callable[[], object]) -> bool:
    with suppress(StoreRefused):
        ask()
        return False
    return True


def test_topics_that_are_there_need_no_right_to_make_them(limited: Settings) -> None:
    ensure_topics(limited, "there", dead_letter_topic(limited))
    with pytest.raises(StoreRefused, match="the topic missing could not be made"):
        ensure_topics(limited, "there", "missing")


def test_dead_letters_that_may_not_be_seen_are_not_none(limited: Settings) -> None:
    hidden = limited.model_copy(update={"events_kafka_topic": "hidden"})
    with pytest.raises(StoreRefused, match="TOPIC_AUTHORIZATION_FAILED"):
        list(deadletters.letters(hidden))
