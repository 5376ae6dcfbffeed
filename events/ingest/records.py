"""Read an input of events, whatever its format."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from events.domain.timeformats import Survey
from events.errors import InvalidInput
from events.ingest.csvrows import read_csv
from events.ingest.jsonrows import read_json_lines
from events.ingest.parquetrows import read_parquet
from events.ingest.reading import DEFAULT, Numbered, Reading, Rejection
from events.ingest.source import LineInput

_READERS = {"csv": read_csv, "jsonl": read_json_lines, "parquet": read_parquet}


def read_records(source: LineInput, reading: Reading = DEFAULT) -> Iterator[Numbered | Rejection]:
    """
    Yield an event or a rejection for each row of an input, with its line.

    Raises:
        InvalidInput: The input has no known format or no columns for the fields, or reading
            stopped before its end; by then all complete rows have been yielded.
    """

    def read(opened: LineInput) -> Iterator[Numbered | Rejection]:
        return _READERS[opened.kind](opened, reading)

    # Not `yield from`, which would cost 2 % of the time of a CSV row.
    return chain.from_iterable(map(read, [source]))


def with_format_found(source: LineInput, reading: Reading) -> Reading:
    """Read the input once to find the format of its timestamps; raises `InvalidInput`."""
    survey = Survey()
    deque(read_records(source, replace(reading, parse_time=survey)), maxlen=0)
    try:
        return replace(reading, parse_time=survey.decide(reading.local))
    except InvalidInput as exc:
        raise InvalidInput(f"{source.name}: {exc}") from exc
