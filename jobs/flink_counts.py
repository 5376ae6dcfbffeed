"""
Hourly counts with Flink: of the topic as it arrives, or of the archive.

    python -m jobs.flink_counts stream --checkpoint FOLDER
    python -m jobs.flink_counts batch --start 2021-03-01 --end 2021-04-01 --compare

The same tables and rules as the Spark jobs `stream_counts` and `recount`, without Spark.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from events.bootstrap import load_settings
from events.config import Settings
from events.local import flink
from jobs.flink.batch import recount
from jobs.flink.jvm import SOURCES, opened_flink
from jobs.flink.stream import Stream
from jobs.lib.options import add_recount_options, add_stream_options, named
from jobs.lib.program import EXIT_DIFFERENT, EXIT_OK, exit_code_of, print_json, set_on_signals
from jobs.lib.result import days_between, print_result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit code."""
    options = _parser().parse_args(arguments)
    return exit_code_of(lambda: options.run(load_settings(), options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flink_counts",
        description="Hourly counts with Flink, in the same tables as those of the Spark jobs.",
        epilog="Exit code: 0 all well, 1 --compare found a difference, 2 could not run or go on.",
    )
    commands = parser.add_subparsers(required=True, metavar="stream|batch|jar")
    stream = commands.add_parser(
        "stream",
        help="count the topic continuously",
        description="Count the topic in events.windowed_counts, each hour once it is closed. "
        "Messages that are late, too early or invalid go to events.uncounted. It may be killed at "
        "any moment: it resumes from its newest checkpoint and counts nothing twice. SIGTERM stops "
        "it with a savepoint. Prints one JSON object whenever its numbers change.",
    )
    stream.set_defaults(run=_stream)
    stream.add_argument(
        "--checkpoint",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="folder of checkpoints and savepoints; one per table, used by one run at a time",
    )
    add_stream_options(
        stream,
        watermark="an hour is closed when every partition has an event this much newer",
        kafka="for Kafka's Java consumer, such as security.protocol=SSL",
    )
    stream.add_argument(
        "--drain",
        action="store_true",
        help="when stopping, close all open hours: later events of these hours will be late",
    )
    batch = commands.add_parser(
        "batch",
        help="recount the archive",
        description="Count the distinct events of the archive by customer, type and UTC hour. The "
        "result replaces these days in events.hourly_counts. Running it again is safe.",
    )
    batch.set_defaults(run=_batch)
    add_recount_options(batch)
    batch.add_argument(
        "--compare", action="store_true", help="compare with the counters in the store, both ways"
    )
    jar = commands.add_parser("jar", help="pack the stream for a Flink cluster")
    jar.set_defaults(run=_jar)
    jar.add_argument("file", type=Path, metavar="FILE")
    for command in (stream, batch):
        for name, example in (
            ("flink", "parallelism.default=4"),
            ("catalog", "impl=org.apache.iceberg.rest.RESTCatalog"),
        ):
            command.add_argument(
                f"--{name}-option",
                action="append",
                default=[],
                metavar="NAME=VALUE",
                help=f"a property of {name.capitalize()}, such as {example}"
                if name == "flink"
                else f"properties of another Iceberg catalog than the local one, such as {example}",
            )
    return parser


def _stream(settings: Settings, options: argparse.Namespace) -> int:
    with opened_flink() as jvm:
        stream = Stream(
            jvm,
            settings,
            options.checkpoint,
            watermark_seconds=options.watermark_seconds or settings.events_watermark_seconds,
            ahead_seconds=options.ahead_seconds,
            flink=named(options.flink_option),
            kafka=named(options.kafka_option),
            catalog_options=named(options.catalog_option),
            is_until_end=options.until_end,
            is_drained=options.drain,
            is_published=options.to_store,
        )
        set_on_signals(stream.stop)
        print_json({"total": stream.run(print_json)})
    return EXIT_OK


def _batch(settings: Settings, options: argparse.Namespace) -> int:
    window = days_between(options.start, options.end)
    with opened_flink() as jvm:
        comparison = recount(
            jvm,
            settings,
            window,
            flink=named(options.flink_option),
            catalog_options=named(options.catalog_option),
            is_compared=options.compare,
        )
    is_equal = not comparison.differences
    print_result(comparison, is_json=options.json, is_equal=is_equal, is_compared=options.compare)
    return EXIT_OK if is_equal else EXIT_DIFFERENT


def _jar(_settings: Settings, options: argparse.Namespace) -> int:
    flink.make_jar(SOURCES, options.file)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
