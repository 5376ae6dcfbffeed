"""JSON and CSV request bodies to events."""

from __future__ import annotations

import io
from typing import NamedTuple

import msgspec

from events.api.problems import InvalidRequest, TooLarge
from events.domain.parsing import (
    parse_array,
    parse_fields,
    parse_message,
    parse_void_reason,
)
from events.errors import InvalidEvent, InvalidInput
from events.ingest.csvrows import Rejection, read_records
from events.ingest.source import BLOCK_BYTES, LineInput
from events.models import MAX_PARTITION_KEY_BYTES, Event

_GZIP = b"\x1f\x8b"


class Parsed(NamedTuple):
    """
    The valid events and the rejections of a request, each with its index.

    `lines` has the line of each row of a CSV body, by index. `customers` are all customers that
    the request names, also in rejected JSON objects.
    """

    events: list[tuple[int, Event]]
    rejections: list[tuple[int, InvalidEvent]]
    lines: list[int]
    customers: set[str]


def parse_json(text: bytes, max_events: int) -> Parsed:
    return _parse_events(_fields(text, "events")["events"], max_events)


def parse_correction(text: bytes, max_events: int) -> tuple[str, Parsed]:
    fields = _fields(text, "events", "reason")
    try:
        reason = parse_void_reason(fields["reason"])
    except InvalidEvent as exc:
        raise InvalidRequest("reason", exc.reason) from exc
    return reason, _parse_events(fields["events"], max_events)


def _fields(text: bytes, *names: str) -> dict[str, bytes]:
    try:
        return parse_fields(text, names)
    except InvalidEvent as exc:
        raise InvalidRequest(exc.field or "body", exc.reason) from exc


def _parse_events(text: bytes, max_events: int) -> Parsed:
    try:
        elements = parse_array(text)
    except InvalidEvent as exc:
        raise InvalidRequest("events", exc.reason) from exc
    if not elements:
        raise InvalidRequest("events", "is empty")
    if len(elements) > max_events:
        raise TooLarge(
            f"a request may have {max_events:,} events, and this one has {len(elements):,}"
        )
    parsed = Parsed([], [], [], set())
    for index, element in enumerate(elements):
        try:
            event = parse_message(element)
        except InvalidEvent as exc:
            parsed.rejections.append((index, exc))
            claimed = _claimed_customer(element)
            if claimed is not None:
                # A longer id belongs to no customer; do not keep it.
                parsed.customers.add(claimed[: MAX_PARTITION_KEY_BYTES + 1])
        else:
            parsed.events.append((index, event))
            parsed.customers.add(event.customer_id)
    return parsed


class _Claim(msgspec.Struct):
    customer_id: str


def _claimed_customer(text: bytes) -> str | None:
    """The customer that a JSON object names, even if the object is not a valid event."""
    try:
        return msgspec.json.decode(text, type=_Claim).customer_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def parse_csv(text: bytes, max_events: int) -> Parsed:
    if text.startswith(_GZIP):  # the reader of files would unzip it, without a limit
        raise InvalidRequest("body", "is gzip: send the header Content-Encoding: gzip")
    parsed = Parsed([], [], [], set())
    source = LineInput("the CSV", io.BytesIO(text), is_owned=True, block_bytes=BLOCK_BYTES)
    try:
        for index, record in enumerate(read_records(source)):
            if index == max_events:
                raise TooLarge(f"a request may have {max_events:,} rows, and this one has more")
            if isinstance(record, Rejection):
                parsed.lines.append(record.line)
                parsed.rejections.append((index, InvalidEvent(None, record.reason)))
            else:
                line, event = record
                parsed.lines.append(line)
                parsed.events.append((index, event))
                parsed.customers.add(event.customer_id)
    except InvalidInput as exc:
        raise InvalidRequest("body", str(exc)) from exc
    if not parsed.lines:
        raise InvalidRequest("body", "has no rows: send at least one event")
    return parsed
