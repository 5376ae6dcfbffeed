"""What is taken from the document of a body: the events, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from events.api.problems import InvalidRequest, TooLarge
from events.domain.parsing import check_void_reason, parse_fields, parse_object
from events.errors import InvalidEvent
from events.models import MAX_PARTITION_KEY_BYTES, Event


class Parsed(NamedTuple):
    """
    The events of a request and what is wrong with the others, each with its place in it.

    `customers` are all that the request is about, also in what is rejected.
    """

    events: list[tuple[int, Event]]
    rejections: list[tuple[int, InvalidEvent]]
    customers: set[str]


def take_events(document: object, most: int) -> Parsed:
    """
    The events to take in.

    Args:
        most: How many events one request may have.

    Raises:
        InvalidRequest: The document is no object with events alone, or has none of them.
        TooLarge: It has more.
    """
    return _parsed(_fields(document, "events")["events"], most)


def take_correction(document: object, most: int) -> tuple[str, Parsed]:
    """The reason of a correction, and its events; raises as `take_events`."""
    fields = _fields(document, "events", "reason")
    try:
        reason = check_void_reason(fields["reason"])
    except InvalidEvent as exc:
        raise InvalidRequest("reason", exc.reason) from exc
    return reason, _parsed(fields["events"], most)


def _fields(document: object, *names: str) -> Mapping[str, object]:
    try:
        return parse_fields(document, names)
    except InvalidEvent as exc:
        raise InvalidRequest(exc.field or "body", exc.reason) from exc


def _parsed(documents: object, most: int) -> Parsed:
    if not isinstance(documents, list):
        raise InvalidRequest("events", "is not an array")
    if not documents:
        raise InvalidRequest("events", "is empty")
    if len(documents) > most:
        raise TooLarge(f"a request may have {most:,} events, and this one has {len(documents):,}")
    parsed = Parsed([], [], set())
    for place, document in enumerate(documents):
        try:
            event = parse_object(document)
            parsed.events.append((place, event))
            parsed.customers.add(event.customer_id)
        except InvalidEvent as exc:
            # A new one: the frames of what was raised keep the whole document.
            parsed.rejections.append((place, InvalidEvent(exc.field, exc.reason)))
            claimed = document.get("customer_id") if isinstance(document, dict) else None
            if isinstance(claimed, str):
                # One that is longer is nobody's, and is not to be kept.
                parsed.customers.add(claimed[: MAX_PARTITION_KEY_BYTES + 1])
    return parsed
