"""Cursors: where a page begins, as text that callers pass back unchanged."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime

from events.domain.timestamps import format_timestamp, parse_instant
from events.errors import InvalidWindow
from events.models import BucketPage, ChangeCursor, RangeTotals
from events.queries.buckets import INVALID_CURSOR
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


def encode_bucket_cursor(page: BucketPage) -> str | None:
    """The `next` of a page, which carries the totals so that only the first page counts them."""
    if page.next_start is None:
        return None
    at = "" if page.last_ingested_at is None else format_timestamp(page.last_ingested_at)
    return encode_cursor(f"{format_timestamp(page.next_start)}#{page.total}#{at}")


def decode_bucket_cursor(text: str) -> BucketCursor:
    try:
        start, *carried = decode_cursor(text).split("#")
        if not carried:
            return BucketCursor(decode_instant(start), None)
        total, at = carried
        if not re.fullmatch("[0-9]{1,18}", total):
            raise ValueError(INVALID_CURSOR)
        totals = RangeTotals(int(total), decode_instant(at) if at else None)
        return BucketCursor(decode_instant(start), totals)
    except (ValueError, InvalidWindow) as exc:
        raise ValueError(INVALID_CURSOR) from exc


def encode_position(position: Position | None) -> str | None:
    """The `next` of a page of several customers."""
    if position is None:
        return None
    start, total, at = "", 0, ""
    if position.start is not None and position.totals is not None:
        start, total = format_timestamp(position.start), position.totals.total
        if position.totals.last_ingested_at is not None:
            at = format_timestamp(position.totals.last_ingested_at)
    return encode_cursor(f"{start}#{total}#{at}#{position.customer_id}")


def decode_position(text: str) -> Position:
    match = re.fullmatch("([^#]*)#([0-9]{1,18})#([^#]*)#(.+)", decode_cursor(text), re.DOTALL)
    if match is None:
        raise ValueError(INVALID_CURSOR)
    start, total, at, customer_id = match.groups()
    if not start:
        return Position(customer_id)
    try:
        totals = RangeTotals(int(total), decode_instant(at) if at else None)
        return Position(customer_id, decode_instant(start), totals)
    except InvalidWindow as exc:
        raise ValueError(INVALID_CURSOR) from exc


def encode_change_cursor(cursor: ChangeCursor) -> str:
    text = format_timestamp(cursor.minute)
    if cursor.shard or cursor.after_key is not None:
        text += f"#{cursor.shard}#{cursor.after_key or ''}"
    return encode_cursor(text)


def decode_since(text: str) -> ChangeCursor | datetime:
    # A cursor starts with a year too, but in base64.
    if re.match("[0-9]{4}-", text):
        return decode_instant(text)
    match = re.fullmatch("([^#]*)(?:#([0-9])#(.*))?", decode_cursor(text), re.DOTALL)
    if match is None:
        raise ValueError(INVALID_CURSOR)
    minute, shard, after_key = match.groups()
    try:
        return ChangeCursor(decode_instant(minute), int(shard or 0), after_key or None)
    except InvalidWindow as exc:
        raise ValueError(INVALID_CURSOR) from exc
