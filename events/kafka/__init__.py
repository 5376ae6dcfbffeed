"""Kafka: count its messages exactly, send events to it, and handle dead letters."""

from __future__ import annotations

from importlib.util import find_spec

from events.errors import InvalidInput


def check_installed() -> None:
    """Raise `InvalidInput` if the Kafka client is not installed; only streams need it."""
    if find_spec("confluent_kafka") is None:
        raise InvalidInput(
            "the Kafka client is not installed: run "
            "python -m pip install -r requirements-stream.txt"
        )
