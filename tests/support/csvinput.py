"""CSV inputs for tests of the reader."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from events.errors import InvalidInput
from events.ingest.reading import DEFAULT, Numbered, Reading, Rejection
from events.ingest.records import read_records
from events.ingest.source import BLOCK_BYTES, LineInput
from events.models import Event

TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
EVENT = Event("c", "e", "t", TEN)
HEADER = b"customer_id,event_type,transaction_id,timestamp\n"
ROW = b"c,e,t,2021-03-01T10:00:00Z\n"

Record = Numbered | Rejection


def source(
    content: bytes, *, block_bytes: int = BLOCK_BYTES, name: str = "events.csv"
) -> LineInput:
    return LineInput(name, io.BytesIO(content), is_owned=False, block_bytes=block_bytes)


def read(
    content: bytes,
    reading: Reading = DEFAULT,
    *,
    block_bytes: int = BLOCK_BYTES,
) -> list[Record]:
    return list(read_records(source(content, block_bytes=block_bytes), reading))


def read_until_refused(records: Iterator[Record]) -> tuple[list[Record], str]:
    """What came before the input was refused, and why it was."""
    got: list[Record] = []
    with pytest.raises(InvalidInput) as refused:
        got.extend(records)  # extends one by one: what came before the error is kept
    return got, str(refused.value)


def numbered_rows(count: int) -> bytes:
    return b"".join(b"c,e,%d,2021-03-01T10:00:00Z\n" % number for number in range(count))


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
