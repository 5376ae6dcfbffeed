"""The Kafka edge: what reads from the bus and writes to it."""

from __future__ import annotations

from importlib.util import find_spec

from events.errors import InvalidInput


def check_installed() -> None:
    """Raise `InvalidInput` where what talks to Kafka is not installed: only streams need it."""
    if find_spec("confluent_kafka") is None:
        raise InvalidInput(
            "Kafka needs more than is installed: python -m pip install -r requirements-stream.txt"
        )
