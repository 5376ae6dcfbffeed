"""A client that may read and write topics but not create them can still run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from events.errors import StoreRefused
from events.kafka.clients import Cluster, check_topic, dead_letter_topic, ensure_topics, make_admin
from events.kafka.deadletters import read_dead_letters
from events.local import kafka
from tests.support.broker import Broker
from tests.support.shell import until

_AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


def _rule(
    resource: ResourceType, name: str, operation: AclOperation, permission: AclPermissionType
) -> AclBinding:
    literal = ResourcePatternType.LITERAL
    return AclBinding(resource, name, literal, "User:ANONYMOUS", "*", operation, permission)


@pytest.fixture(scope="module")
def limited(broker: Broker) -> Iterator[Cluster]:
    """A broker with the topics of `there`, which lets nobody create more."""
    del broker  # skips if there is no Kafka
    with kafka.start(properties=_AUTHORIZER) as server:
        limited = Cluster(server.bootstrap_servers)
        ensure_topics(limited, "there", dead_letter_topic("there"))
        cluster, allow, deny = (
            ResourceType.BROKER,
            AclPermissionType.ALLOW,
            AclPermissionType.DENY,
        )
        rules = [
            # The broker itself is the same user.
            _rule(cluster, "kafka-cluster", AclOperation.ALL, allow),
            _rule(cluster, "kafka-cluster", AclOperation.CREATE, deny),
            _rule(ResourceType.TOPIC, "*", AclOperation.CREATE, deny),
            _rule(ResourceType.TOPIC, "*", AclOperation.DESCRIBE, allow),
            _rule(ResourceType.TOPIC, "hidden.dead-letter", AclOperation.DESCRIBE, deny),
        ]
        admin = make_admin(limited)
        for future in admin.create_acls(rules).values():
            future.result()
        # The controller and the broker each apply the rules a little later.
        until(lambda: _is_refused(partial(ensure_topics, limited, uuid.uuid4().hex)))
        until(lambda: _is_refused(lambda: check_topic(admin, "hidden.dead-letter", 5)))
        yield limited


def _is_refused(ask: Callable[[], object]) -> bool:
    with suppress(StoreRefused):
        ask()
        return False
    return True


def test_existing_topics_need_no_right_to_create_topics(limited: Cluster) -> None:
    ensure_topics(limited, "there", dead_letter_topic("there"))
    with pytest.raises(StoreRefused, match="cannot create the topic missing"):
        ensure_topics(limited, "there", "missing")


def test_a_dead_letter_topic_without_rights_does_not_look_empty(limited: Cluster) -> None:
    with pytest.raises(StoreRefused, match="TOPIC_AUTHORIZATION_FAILED"):
        list(read_dead_letters(limited, "hidden", group="g"))
