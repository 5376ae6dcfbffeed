"""Kafka: one node that is broker and controller, downloaded once from Maven Central."""

from __future__ import annotations

import base64
import socket
import struct
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from events.local import jars
from events.local.javaserver import (
    LocalServer,
    LocalServerError,
    check_port,
    end_of,
    free_port,
    launch,
    scratch_folder,
)

VERSION = "4.3.1"
#: slf4j-simple prints why a start fails.
_COORDINATES = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
_JARS = jars.FOLDER / f"kafka-{VERSION}"
#: Kafka's own remote storage in a folder, made for its tests.
_TIER_COORDINATES = f"org.apache.kafka:kafka-storage:{VERSION}:test"
_TIER_JARS = jars.FOLDER / f"kafka-tiered-{VERSION}"
DATA_FOLDER = jars.FOLDER / "kafka-data"
DEFAULT_PORT = 9092
_JAVA_OPTIONS = ("-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
#: The file that marks a formatted folder.
_FORMATTED = "meta.properties"


class KafkaLocal(LocalServer):
    """A running Kafka. SIGTERM loses no data."""

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"


def start(
    *,
    port: int = 0,
    data_folder: Path | None = None,
    is_tiered: bool = False,
    properties: Mapping[str, str] = MappingProxyType({}),
) -> KafkaLocal:
    """
    Start Kafka and wait until it answers.

    For a laptop and for tests: it listens on 127.0.0.1 only, keeps one copy of everything, and
    does not create topics by itself.

    Args:
        port: The broker's port; 0 chooses a free port.
        data_folder: Created and formatted if missing; None is a temporary folder.
        is_tiered: Tiered storage in the folder beside the data (`tier_of`), for topics that ask
            for it.
        properties: Further server properties.
    """
    class_path = str(jars.fetch(f"Kafka {VERSION}", _COORDINATES, _JARS) / "*")
    port = port or free_port()
    check_port(port)
    with scratch_folder("kafka-local-") as scratch:
        data = data_folder or scratch / "data"
        data.mkdir(parents=True, exist_ok=True)
        configuration = scratch / "server.properties"
        values = {**_properties(port, free_port(), data), **properties}
        if is_tiered:
            values |= _tiered_properties(data)
        lines = [f"{name}={value}\n" for name, value in values.items()]
        configuration.write_text("".join(lines), encoding="utf-8")
        if not (data / _FORMATTED).exists():
            _format(class_path, configuration, scratch)
        arguments = ["kafka.Kafka", str(configuration)]
        process = launch(class_path, arguments, scratch, _JAVA_OPTIONS)
        # Time to hand over its partitions and close its files.
        server = KafkaLocal(process, port, scratch, stop_seconds=30)
        server.wait_until(partial(is_answering, server.bootstrap_servers), "Kafka")
    return server


def is_answering(bootstrap_server: str) -> bool:
    """Whether a Kafka broker answers at this address; needs no client."""
    host, _, port = bootstrap_server.rpartition(":")
    # ApiVersions (Kafka Protocol Guide): API key, API version, correlation id 1, no client id.
    request = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection((host, int(port)), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                head = stream.read(10)
    except OSError:
        return False
    # After the size, the same correlation id and no error.
    return head[4:] == struct.pack(">ih", 1, 0)


def must_be_fetched() -> bool:
    """Whether the next start downloads the program."""
    return not _JARS.is_dir()


def must_tier_be_fetched() -> bool:
    """Whether the next start with tiered storage downloads it."""
    return not _TIER_JARS.is_dir()


def _properties(port: int, controller_port: int, data: Path) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "log.dirs": _path(data),
        # There is only one node to hold copies.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # A mistyped topic name must not create a topic.
        "auto.create.topics.enable": "false",
        # On a laptop no other members of a group are on their way.
        "group.initial.rebalance.delay.ms": "0",
    }


def tier_of(data_folder: Path) -> Path:
    """The folder of the remote tier; Kafka accepts nothing else among its own data."""
    return data_folder.with_name(f"{data_folder.name}-tiered")


def _tiered_properties(data: Path) -> dict[str, str]:
    name = "Kafka's local tiered storage"
    (jar,) = jars.fetch(name, _TIER_COORDINATES, _TIER_JARS, is_with_dependencies=False).iterdir()
    manager = "remote.log.storage.manager"
    metadata = "rlmm.config.remote.log.metadata.topic"
    return {
        "remote.log.storage.system.enable": "true",
        f"{manager}.class.name": "org.apache.kafka.server.log.remote.storage.LocalTieredStorage",
        f"{manager}.class.path": _path(jar),
        f"{manager}.impl.prefix": "rsm.config.",
        "rsm.config.dir": _path(tier_of(data)),
        "remote.log.metadata.manager.listener.name": "BROKER",
        f"{metadata}.replication.factor": "1",
        f"{metadata}.num.partitions": "4",
        # Copy and delete segments within seconds, also after the start.
        "log.initial.task.delay.ms": "1000",
        "remote.log.manager.task.interval.ms": "1000",
        "log.retention.check.interval.ms": "1000",
    }


def _path(path: Path) -> str:
    # In a properties file a backslash starts an escape sequence.
    return str(path.absolute()).replace("\\", "/")


def _format(class_path: str, configuration: Path, scratch: Path) -> None:
    """Prepare a new data folder."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    arguments = [
        "kafka.tools.StorageTool",
        "format",
        "--standalone",
        "--config",
        str(configuration),
    ]
    # Joined by "=", because one id in 64 begins with "-".
    arguments += [f"--cluster-id={cluster_id}"]
    if launch(class_path, arguments, scratch, _JAVA_OPTIONS).wait() != 0:
        raise LocalServerError(f"cannot format Kafka's data folder: {end_of(scratch)}")
