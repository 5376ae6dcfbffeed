"""CloudEvents 1.0 as events: https://github.com/cloudevents/spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from events.domain.parsing import parse_event
from events.errors import InvalidEvent
from events.models import Event

SPEC_VERSION = "specversion"
#: The attributes that make an event; `data` and all others are ignored.
ATTRIBUTES = (SPEC_VERSION, "id", "source", "type", "subject", "time")
_FIELDS = {"customer_id": "subject", "event_type": "type", "timestamp": "time"}


def attributes_in(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str] | None:
    """
    The attributes of a CloudEvent in the headers of a Kafka record; None if it has none.

    Raises `InvalidEvent` if an attribute occurs twice or is not UTF-8.
    """
    attributes: dict[str, str] = {}
    for header, value in headers:
        name = header.removeprefix("ce_")
        if name == header or name not in ATTRIBUTES or value is None:
            continue
        if name in attributes:
            raise InvalidEvent(name, "has two headers")
        try:
            attributes[name] = value.decode()
        except UnicodeDecodeError as exc:
            raise InvalidEvent(name, "is not valid UTF-8") from exc
    return attributes if SPEC_VERSION in attributes else None


def event_of(attributes: Mapping[str, str], *, is_stored: bool = False) -> Event:
    """
    The event of a CloudEvent: `subject` is the customer, `type` the type, `time` the timestamp.

    Its identity in CloudEvents is `source` and `id` together, so the transaction id is both with
    one space between. A source with white space is refused: two events could get one id.

    Raises:
        InvalidEvent: Names the first invalid attribute and the reason.
    """
    for name in ATTRIBUTES:
        if name not in attributes:
            why = ": a time made on receipt would count a retry twice" if name == "time" else ""
            raise InvalidEvent(name, f"is missing{why}")
        if not attributes[name]:
            raise InvalidEvent(name, "is empty")
    version, source = attributes[SPEC_VERSION], attributes["source"]
    if version != "1.0":
        raise InvalidEvent(SPEC_VERSION, f"is {version[:20]!r}, not '1.0'")
    if any(map(str.isspace, source)):
        raise InvalidEvent("source", "has white space, which would make transaction ids ambiguous")
    transaction_id = f"{source} {attributes['id']}"
    try:
        return parse_event(
            attributes["subject"],
            attributes["type"],
            transaction_id,
            attributes["time"],
            is_stored=is_stored,
        )
    except InvalidEvent as exc:
        if exc.field == "transaction_id":
            reason = f"with its source, {transaction_id[:200]!r}, {exc.reason}"
            raise InvalidEvent("id", reason) from exc
        raise InvalidEvent(_FIELDS.get(exc.field or ""), exc.reason) from exc
