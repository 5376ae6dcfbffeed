"""`python -m events local`: run DynamoDB Local or Kafka on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from events.cli import EXIT_NOT_RUN, EXIT_OK, check_at_most_one, command, say
from events.cli.options import OtherPort

Kafka = Annotated[bool, Option("--kafka", help="Run a Kafka broker instead of the database.")]
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
    kafka: Kafka = False, port: OtherPort = None, data: Folder = None, in_memory: InMemory = False
) -> int:
    """
    Run DynamoDB Local or Kafka on this machine, at port 9000 or 9092.

    It runs until Ctrl-C or SIGTERM. The first run downloads the program from Maven Central. To use
    your own, set DYNAMODB_LOCAL_HOME to an unpacked DynamoDB Local, and JAVA_HOME to a Java
    runtime. EVENTS_LOCAL_ENGINE names a program to run in place of DynamoDB Local.

    Exit code: 0 stopped; 2 it could not run.
    """
    check_at_most_one(data=data, in_memory=in_memory)
    # Imported here, because starting either needs a Java runtime, which other commands do not.
    from events.local import dynamodb
    from events.local import kafka as kafka_server

    program = kafka_server if kafka else dynamodb
    name, nowhere = ("Kafka", "a temporary folder") if kafka else (dynamodb.name(), "memory")
    if program.must_be_fetched():
        say(f"Downloading {name} {program.VERSION}, once …")
    folder = None if in_memory else data or program.DATA_FOLDER
    with program.start(port=port or program.DEFAULT_PORT, data_folder=folder) as server:
        address = server.bootstrap_servers if kafka else server.endpoint_url
        say(f"{name} is ready at {address}, data in {folder or nowhere}. Ctrl-C stops it.")
        code = server.wait()
    say(f"error: {name} exited with code {code}")
    return EXIT_NOT_RUN
