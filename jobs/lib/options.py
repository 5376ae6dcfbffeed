"""Options that several jobs have. Without pyspark, because Flink's job has them as well."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from events.errors import InvalidInput


def add_stream_options(parser: argparse.ArgumentParser, *, watermark: str, kafka: str) -> None:
    """
    Add the options that the streams of Spark and Flink share.

    Args:
        watermark: What `--watermark-seconds` decides.
        kafka: What `--kafka-option` is for.
    """
    parser.add_argument(
        "--watermark-seconds",
        type=whole_number,
        metavar="N",
        help=f"{watermark} (default: EVENTS_WATERMARK_SECONDS)",
    )
    parser.add_argument(
        "--ahead-seconds",
        type=whole_number,
        default=3_600,
        metavar="N",
        help="events further ahead of their message's time are not counted, because they would "
        "move the watermark (default: 3600)",
    )
    parser.add_argument(
        "--to-store",
        "--to-dynamodb",
        action="store_true",
        help="also write the counts to the store, for an API with EVENTS_COUNTS=windowed",
    )
    parser.add_argument("--until-end", action="store_true", help="stop at the topic's current end")
    parser.add_argument(
        "--kafka-option", action="append", default=[], metavar="NAME=VALUE", help=kafka
    )


def add_recount_options(parser: argparse.ArgumentParser) -> None:
    """Add the days of a recount, and how its result is printed."""
    parser.add_argument(
        "--start", metavar="TIME", help="first UTC day (default: the first in the archive)"
    )
    parser.add_argument(
        "--end", metavar="TIME", help="UTC day after the last one (default: to the end)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def whole_number(text: str) -> int:
    """A whole number from 1 on; raises what argparse reports."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 on")
    return int(text)


def named(options: Sequence[str]) -> Mapping[str, str]:
    """The values of options such as `--kafka-option NAME=VALUE`, by name."""
    values = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise InvalidInput(f"{name}: use NAME=VALUE")
        values[name] = value
    return values
