"""Events in request bodies: JSON, JSON Lines, CSV and CloudEvents."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Annotated, Literal, NamedTuple
from urllib.parse import unquote

import msgspec
from fastapi import Depends, Request
from pydantic import Field

from events.api.bodies import CLOUD_EVENT, CSV, JSON, has_cloud_event, media_type_of, receives
from events.api.parameters import Parameters
from events.api.problems import InvalidRequest, TooLarge
from events.domain.cloudevents import ATTRIBUTES, SPEC_VERSION, event_of
from events.domain.jsonevents import (
    BYTE_ORDER_MARK,
    decode_object,
    parse_array,
    parse_fields,
    parse_message,
    string_of,
)
from events.domain.parsing import COLUMNS, check_void_reason
from events.domain.timeformats import AUTO
from events.errors import InvalidEvent, InvalidInput
from events.ingest.reading import DEFAULT, InvalidOption, Reading, Rejection, make_reading
from events.ingest.records import read_records
from events.ingest.source import BLOCK_BYTES, LineInput
from events.models import MAX_PARTITION_KEY_BYTES, Event

_GZIP_MAGIC = b"\x1f\x8b"
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_KINDS = {"jsonl": "JSON", "parquet": "Parquet"}
#: Of an attribute of a CloudEvent in binary mode: `ce-id`, `ce-source`, …
_HEADER = "ce-"
#: Old senders quote values: section 3.1.3.2 of the HTTP binding.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OPTION = re.compile("--(columns|delimiter|timestamp-format|assume-timezone|ambiguous-hour)")


class Parsed(NamedTuple):
    """
    The valid events and the rejections of a request, each with its index.

    `lines` has the line of each event of CSV and JSON Lines, by index. `customers` are all
    customers that the request names, also in rejected JSON objects.
    """

    events: list[tuple[int, Event]]
    rejections: list[tuple[int, InvalidEvent]]
    lines: list[int]
    customers: set[str]


class CsvOptions(Parameters):
    """How to read a CSV body; as the options of the command line."""

    columns: str | None = Field(
        None,
        description="CSV: columns with other names.",
        examples=["customer_id=user_id,timestamp=created_at"],
    )
    delimiter: str | None = Field(None, description="CSV: one character, or `tab`.", examples=[";"])
    timestamp_format: str | None = Field(
        None,
        description="CSV: `iso` (default), `epoch-s`, `epoch-ms`, `epoch-us`, `epoch-ns`, or a "
        "strptime pattern.",
        examples=["%d.%m.%Y %H:%M"],
    )
    assume_timezone: str | None = Field(
        None,
        description="CSV: IANA time zone of timestamps without an offset.",
        examples=["Europe/Berlin"],
    )
    ambiguous_hour: Literal["first", "second"] | None = Field(
        None,
        description="CSV: which instant a local time means that occurs twice because clocks are "
        "set back.",
        examples=["first"],
    )


def parser_of(request: Request, options: CsvOptions) -> Callable[[bytes, int], Parsed]:
    """What parses the body of a request, at most so many events of it."""
    given = options.model_dump(exclude_none=True)
    if has_cloud_event(request) or media_type_of(request) != CSV:
        for name in given:
            raise InvalidRequest(name, f"is an option of {CSV}, which this request does not send")
        if has_cloud_event(request):
            return partial(parse_binary, request)
        return PARSERS[media_type_of(request)]
    if options.timestamp_format == AUTO:
        raise InvalidRequest("timestamp_format", "auto needs a whole file: name the format")
    try:
        return partial(parse_csv, reading=make_reading(**given))
    except InvalidOption as exc:
        raise InvalidRequest(exc.option, exc.reason) from exc


def parse_binary(request: Request, _: bytes, __: int) -> Parsed:
    """The CloudEvent in the headers. Other characters than ASCII are percent-encoded."""
    parsed = Parsed([], [], [], set())
    names = [name for name in ATTRIBUTES if f"{_HEADER}{name}" in request.headers]
    values = {name: request.headers[f"{_HEADER}{name}"] for name in names}
    plain = {name: _without_quotes(value) for name, value in values.items()}
    attributes = {name: unquote(value, errors="surrogateescape") for name, value in plain.items()}
    if "subject" in attributes:
        parsed.customers.add(attributes["subject"][: MAX_PARTITION_KEY_BYTES + 1])
    try:
        for name, value in values.items():
            if not value.isascii():
                raise InvalidEvent(name, "is not ASCII: percent-encode its bytes of UTF-8")
            if len(request.headers.getlist(f"{_HEADER}{name}")) > 1:
                raise InvalidEvent(name, "has two headers")
        parsed.events.append((0, event_of(attributes)))
    except InvalidEvent as exc:
        parsed.rejections.append((0, exc))
    return parsed


def _without_quotes(value: str) -> str:
    quoted = _QUOTED.fullmatch(value)
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value


def parse_json(text: bytes, max_events: int) -> Parsed:
    """An object with `events`, an array of events, or one event."""
    text = plain(text)
    if text.lstrip()[:1] == b"[":
        return _parse_events(text, max_events, field="body")
    try:
        return _parse_events(_fields(text, "events")["events"], max_events)
    except InvalidRequest as exc:
        with suppress(InvalidEvent):
            names = set(decode_object(text))
            if "events" not in names and names & {*COLUMNS, SPEC_VERSION}:
                return parse_elements([text])
            raise
        with suppress(InvalidEvent):
            decode_object(text.partition(b"\n")[0])
            raise InvalidRequest(
                "body", "is JSON Lines: send the header Content-Type: application/x-ndjson"
            ) from exc
        raise


def parse_json_lines(text: bytes, max_events: int) -> Parsed:
    """One event a line; blank lines are left out."""
    text = plain(text)
    numbered = [
        (number, line)
        for number, line in enumerate(text.split(b"\n"), 1)
        if line.removeprefix(BYTE_ORDER_MARK).strip()
    ]
    _check_number(len(numbered), max_events, "body")
    parsed = parse_elements(line for _, line in numbered)
    # The place of a rejection is its line, so its field is part of the reason.
    rejections = [(index, InvalidEvent(None, str(exc))) for index, exc in parsed.rejections]
    return parsed._replace(rejections=rejections, lines=[number for number, _ in numbered])


def parse_correction(text: bytes, max_events: int) -> tuple[str, Parsed]:
    fields = _fields(plain(text), "events", "reason")
    try:
        reason = check_void_reason(string_of("reason", fields["reason"]))
    except InvalidEvent as exc:
        raise InvalidRequest("reason", exc.reason) from exc
    return reason, _parse_events(fields["events"], max_events, is_stored=True)


def _check_not_gzip(text: bytes) -> None:
    if text.startswith(_GZIP_MAGIC):
        raise InvalidRequest("body", "is gzip: send the header Content-Encoding: gzip")


def plain(text: bytes) -> bytes:
    """A JSON body without its byte order mark; raises `InvalidRequest` if it is not UTF-8."""
    _check_not_gzip(text)
    if text.startswith(_UTF_16_MARKS) or b"\x00" in text[:2]:  # JSON starts with ASCII
        raise InvalidRequest("body", "is UTF-16: send UTF-8")
    text = text.removeprefix(BYTE_ORDER_MARK)
    if not text.strip():
        raise InvalidRequest("body", "is empty")
    return text


def _fields(text: bytes, *names: str) -> dict[str, bytes]:
    try:
        return parse_fields(text, names)
    except InvalidEvent as exc:
        raise InvalidRequest(exc.field or "body", exc.reason) from exc


def _parse_events(
    text: bytes, max_events: int, *, field: str = "events", is_stored: bool = False
) -> Parsed:
    elements = array_of(text, max_events, field=field)
    return parse_elements(elements, partial(parse_message, is_stored=is_stored))


def array_of(text: bytes, max_events: int, *, field: str) -> list[bytes]:
    """The JSON of each element of an array, at least one; raises `InvalidRequest`."""
    try:
        elements = parse_array(text)
    except InvalidEvent as exc:
        raise InvalidRequest(field, exc.reason) from exc
    _check_number(len(elements), max_events, field)
    return elements


def _check_number(number: int, max_events: int, field: str) -> None:
    if not number:
        raise InvalidRequest(field, "is empty")
    if number > max_events:
        raise TooLarge(f"a request may have {max_events:,} events, and this one has {number:,}")


def parse_elements(
    elements: Iterable[bytes], parse: Callable[[bytes], Event] = parse_message
) -> Parsed:
    """Parse JSON objects, each into an event."""
    parsed = Parsed([], [], [], set())
    for index, element in enumerate(elements):
        try:
            event = parse(element)
        except InvalidEvent as exc:
            parsed.rejections.append((index, exc))
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                claim = msgspec.json.decode(element.removeprefix(BYTE_ORDER_MARK), type=_Claim)
                # A longer id belongs to no customer; do not keep it.
                claimed = {claim.customer_id, claim.subject} - {""}
                parsed.customers.update(name[: MAX_PARTITION_KEY_BYTES + 1] for name in claimed)
        else:
            parsed.events.append((index, event))
            parsed.customers.add(event.customer_id)
    return parsed


class _Claim(msgspec.Struct):
    """The customer that a JSON object names, even if the object is not a valid event."""

    customer_id: str = ""
    subject: str = ""


def parse_csv(text: bytes, max_events: int, reading: Reading = DEFAULT) -> Parsed:
    _check_not_gzip(text)  # the reader of files would unzip it, without a limit
    parsed = Parsed([], [], [], set())
    source = LineInput(
        "the CSV", io.BytesIO(text), is_owned=True, block_bytes=BLOCK_BYTES, is_plain=True
    )
    try:
        if source.kind != "csv":
            raise InvalidRequest("body", f"is {_KINDS[source.kind]}, not CSV")
        for index, record in enumerate(read_records(source, reading)):
            if index == max_events:
                raise TooLarge(f"a request may have {max_events:,} rows, and this one has more")
            if isinstance(record, Rejection):
                parsed.lines.append(record.line)
                parsed.rejections.append((index, InvalidEvent(None, _for_http(record.reason))))
            else:
                line, event = record
                parsed.lines.append(line)
                parsed.events.append((index, event))
                parsed.customers.add(event.customer_id)
    except InvalidInput as exc:
        raise InvalidRequest("body", _for_http(str(exc))) from exc
    if not parsed.lines:
        raise InvalidRequest("body", "has no rows: send at least one event")
    return parsed


def _for_http(reason: str) -> str:
    """A reason with the names of query parameters for those of options."""
    return _OPTION.sub(lambda match: f"the parameter {match[1].replace('-', '_')}", reason)


#: By media type.
PARSERS: dict[str, Callable[[bytes, int], Parsed]] = {
    JSON: parse_json,
    CLOUD_EVENT: parse_json,
    "application/cloudevents-batch+json": parse_json,
    "application/x-ndjson": parse_json_lines,
    "application/ndjson": parse_json_lines,
    "application/jsonl": parse_json_lines,
    CSV: parse_csv,
}
#: A body of events as it was sent; `Bodies.read` decompresses it.
EventsBody = Annotated[bytes, Depends(receives(*PARSERS))]
