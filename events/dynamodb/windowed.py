"""The counts of a stream, which has no events beside them: to be read, by whole hours."""

# ruff: noqa: ARG002 - what it refuses it need not look at
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from events.dao import DynamoStore
from events.errors import InvalidWindow, NotAllowed
from events.models import Event, Outcome, Window


class WindowedStore(DynamoStore):
    """
    Counters that `jobs/stream_counts.py` writes.

    What would change them, or needs the events that they were made of, is refused.
    """

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        _check_whole(windows)
        return []

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> list[Mapping[str | None, int]]:
        _check_whole(windows)
        return []

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        _refuse()

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        _refuse()

    def delete(self, events: Sequence[Event]) -> int:
        _refuse()

    def event_keys(self, customer_id: str, window: Window) -> Iterator[Event | str]:
        _refuse()

    def all_event_keys(self, customer_id: str) -> Iterator[Event | str]:
        _refuse()


def _check_whole(windows: Sequence[Window]) -> None:
    if windows:
        raise InvalidWindow(
            "the counts here are windowed, of whole hours: begin and end a window on the hour"
        )


def _refuse() -> NoReturn:
    raise NotAllowed(
        "the counts here are those of a stream (EVENTS_COUNTS=windowed): they are only read, and "
        "have no events beside them"
    )
