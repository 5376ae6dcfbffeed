"""Cursors: where a page begins, as text that callers pass back unchanged."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime

from events.domain.timestamps import format_timestamp, parse_instant
from events.errors import INVALID_CURSOR, InvalidWindow
from events.models import BucketPage, ChangeCursor, RangeTotals
from events.queries.customers import Position


@dataclass(frozen=True, slots=True)
class BucketCursor:
    """Start of a page's first bucket, and the totals of the range that the first page counted."""

    # Not a tuple: FastAPI takes a tuple for a repeated parameter.
    start: datetime
    totals: RangeTotals | None  # None in cursors of versions before 0.2


def decode_instant(text: str) -> datetime:
    return parse_instant(text, "")


def encode_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(text: str) -> str:
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if decoded:
            return decoded.decode()
    except ValueError:  # not base64, or not UTF-8
        pass
    raise ValueError(INVALID_CURSOR)


def _groups(pattern: str, text: str) -> tuple[str, ...]:
    """The parts of a cursor; raises `ValueError` if the pattern does not match it."""
    match = re.fullmatch(pattern, decode_cursor(text), re.DOTALL)
    if match is None:
        raise ValueError(INVALID_CURSOR)
    return match.groups(default="")


def _instant(text: str) -> datetime:
    try:
        return decode_instant(text)
    except InvalidWindow as exc:
        raise ValueError(INVALID_CURSOR) from exc


def _totals(total: str, at: str) -> RangeTotals:
    return RangeTotals(int(total), _instant(at) if at else None)


def _place(start: datetime, totals: RangeTotals) -> str:
    """The start of a page's first bucket, and the totals of the range."""
    at = totals.last_ingested_at
    return f"{format_timestamp(start)}#{totals.total}#{'' if at is None else format_timestamp(at)}"


def encode_bucket_cursor(page: BucketPage) -> str | None:
    """The `next` of a page, which carries the totals so that only the first page counts them."""
    if page.next_start is None:
        return None
    return encode_cursor(_place(page.next_start, RangeTotals(page.total, page.last_ingested_at)))


def decode_bucket_cursor(text: str) -> BucketCursor:
    start, total, at = _groups("([^#]*)(?:#([0-9]{1,18})#([^#]*))?", text)
    return BucketCursor(_instant(start), _totals(total, at) if total else None)


def encode_position(position: Position | None) -> str | None:
    """The `next` of a page of several customers."""
    if position is None:
        return None
    place = "#0#"
    if position.start is not None and position.totals is not None:
        place = _place(position.start, position.totals)
    return encode_cursor(f"{place}#{position.customer_id}")


def decode_position(text: str) -> Position:
    start, total, at, customer_id = _groups("([^#]*)#([0-9]{1,18})#([^#]*)#(.+)", text)
    if not start:
        return Position(customer_id)
    return Position(customer_id, _instant(start), _totals(total, at))


def encode_change_cursor(cursor: ChangeCursor) -> str:
    text = format_timestamp(cursor.minute)
    if cursor.shard or cursor.after_key is not None:
        text += f"#{cursor.shard}#{cursor.after_key or ''}"
    return encode_cursor(text)


def decode_since(text: str) -> ChangeCursor | datetime:
    # A cursor starts with a year too, but in base64.
    if re.match("[0-9]{4}-", text):
        return decode_instant(text)
    minute, shard, after_key = _groups("([^#]*)(?:#([0-9])#(.*))?", text)
    return ChangeCursor(_instant(minute), int(shard or 0), after_key or None)
