"""`python -m events local`: the database, or Kafka, on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from events.cli import EXIT_NOT_RUN, Commands, port, say


def add_to(commands: Commands) -> None:
    local = commands.add_parser(
        "local",
        help="the database alone, or Kafka, on this machine",
        description="Run DynamoDB Local, or with --kafka a Kafka broker on 127.0.0.1, until Ctrl-C "
        "or SIGTERM. The first time it is fetched from Maven Central; DYNAMODB_LOCAL_HOME names an "
        "unpacked DynamoDB Local to use instead, and JAVA_HOME another Java runtime.",
    )
    local.set_defaults(command=_local, is_service=True)
    local.add_argument("--kafka", action="store_true", help="Kafka instead of the database")
    local.add_argument("--port", type=port, help="default: 9000, of Kafka 9092")
    where = local.add_mutually_exclusive_group()
    where.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="where the data lies (default: .local/data, of Kafka .local/kafka-data)",
    )
    where.add_argument("--in-memory", action="store_true", help="keep nothing after it stops")


def _local(options: argparse.Namespace) -> int:
    return _kafka(options) if options.kafka else _dynamodb(options)


# Both need a Java runtime, which other commands do not.


def _dynamodb(options: argparse.Namespace) -> int:
    from events.local import dynamodb

    folder = None if options.in_memory else options.data or dynamodb.DATA_FOLDER
    with dynamodb.start(port=options.port or 9000, data_folder=folder) as server:
        kept = "in memory" if folder is None else f"in {folder}"
        say(f"DynamoDB Local answers at {server.endpoint_url}, data {kept}. Ctrl-C stops it.")
        code = server.wait()
    say(f"error: DynamoDB Local ended by itself with code {code}")
    return EXIT_NOT_RUN


def _kafka(options: argparse.Namespace) -> int:
    from events.local import kafka

    folder = None if options.in_memory else options.data or kafka.DATA_FOLDER
    if kafka.must_be_fetched():
        say(f"Fetching Kafka {kafka.VERSION}, once …")
    with kafka.start(port=options.port or kafka.DEFAULT_PORT, data_folder=folder) as server:
        kept = "in a temporary folder" if folder is None else f"in {folder}"
        say(f"Kafka answers at {server.bootstrap_servers}, data {kept}. Ctrl-C stops it.")
        code = server.wait()
    say(f"error: Kafka ended by itself with code {code}")
    return EXIT_NOT_RUN
