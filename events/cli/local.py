"""`python -m events local`: run DynamoDB Local or Kafka on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from events.cli import EXIT_NOT_RUN, EXIT_OK, check_at_most_one, command, say
from events.cli.options import OtherPort
from events.errors import InvalidInput

Kafka = Annotated[bool, Option("--kafka", help="Run a Kafka broker instead of the database.")]
Tiered = Annotated[
    bool,
    Option("--tiered", help="With --kafka: move old messages to a second folder, and keep all."),
]
Folder = Annotated[
    Path | None,
    Option(
        metavar="FOLDER",
        help="Where to keep the data (default: .local/data, or .local/kafka-data for Kafka).",
    ),
]
InMemory = Annotated[bool, Option("--in-memory", help="Keep no data after it stops.")]


@command(exit_when_stopped=EXIT_OK)
def local(
    kafka: Kafka = False, tiered: Tiered = False, port: OtherPort = None, data: Folder = None,
    in_memory: InMemory = False,
) -> int:  # fmt: skip
    """
    Run DynamoDB Local or Kafka on this machine, at port 9000 or 9092.

    It runs until Ctrl-C or SIGTERM. The first run downloads the program from Maven Central. To use
    your own, set DYNAMODB_LOCAL_HOME to an unpacked DynamoDB Local, and JAVA_HOME to a Java
    runtime. EVENTS_LOCAL_ENGINE names a program to run in place of DynamoDB Local.

    With --kafka --tiered the broker has Kafka's tiered storage, in the folder FOLDER-tiered. It
    moves the topic EVENTS_KAFKA_TOPIC there, except for its newest messages, and keeps it forever.

    Exit code: 0 stopped; 2 it could not run.
    """
    check_at_most_one(data=data, in_memory=in_memory)
    if tiered and not kafka:
        raise InvalidInput("--tiered needs --kafka")
    # Imported here, because starting either needs a Java runtime, which other commands do not.
    from events.local import dynamodb
    from events.local import kafka as kafka_server
    from events.local.javaserver import LocalServer

    program = kafka_server if kafka else dynamodb
    name, nowhere = ("Kafka", "a temporary folder") if kafka else (dynamodb.name(), "memory")
    if program.must_be_fetched() or (tiered and kafka_server.must_tier_be_fetched()):
        say(f"Downloading {name} {program.VERSION}, once …")
    folder = None if in_memory else data or program.DATA_FOLDER
    port = port or program.DEFAULT_PORT
    server: LocalServer
    if kafka:
        server = broker = kafka_server.start(port=port, data_folder=folder, is_tiered=tiered)
        address = broker.bootstrap_servers
    else:
        server = database = dynamodb.start(port=port, data_folder=folder)
        address = database.endpoint_url
    with server:
        if tiered:
            _tier_topic(address)
        say(f"{name} is ready at {address}, data in {folder or nowhere}. Ctrl-C stops it.")
        code = server.wait()
    say(f"error: {name} exited with code {code}")
    return EXIT_NOT_RUN


def _tier_topic(bootstrap_servers: str) -> None:
    from events.bootstrap import load_settings
    from events.kafka import check_installed

    check_installed()
    from events.kafka.clients import Cluster
    from events.kafka.tiering import tier_topic

    topic = load_settings().events_kafka_topic
    tier_topic(Cluster(bootstrap_servers), topic)
    say(f"The topic {topic} is in tiered storage.")
