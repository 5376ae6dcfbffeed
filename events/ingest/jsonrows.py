"""Parse JSON Lines into events and rejections, each with its line number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import dumps

from events.domain.cloudevents import SPEC_VERSION
from events.domain.columns import bare_name, find_columns, row_parser
from events.domain.jsonevents import (
    check_repeated,
    decode_object,
    json_type,
    parse_cloud_event,
    string_of,
)
from events.domain.parsing import COLUMNS
from events.errors import InvalidEvent, InvalidInput
from events.ingest.reading import Numbered, Reading, Rejection, shown
from events.ingest.source import LONGEST_LINE_BYTES, LineInput, LongLine, why_too_long
from events.models import Event

#: An array of objects, perhaps of events.
_OBJECTS = re.compile(rb"\[\s*\{")
#: An array of texts or numbers: a row.
_VALUES = re.compile(rb'\[\s*["0-9-]')
_WHOLE_NUMBER = re.compile(rb"-?[0-9]+")
#: White space, and what begins an object of a JSON text sequence (RFC 7464).
_AROUND = b" \t\n\r\v\f\x1e"
#: Names that were ignored and are reported; rows may have any number of them.
_MAX_IGNORED = 100


def read_json_lines(source: LineInput, reading: Reading) -> Iterator[Numbered | Rejection]:
    """
    Yield an event or a rejection for each line of a JSON Lines file, except blank ones.

    Raises:
        InvalidInput: The input is another JSON document, its first object has no name for a
            field, or reading stopped before its end; by then all complete lines have been yielded.
    """
    objects = _Objects(source, reading)
    for line, part in source.parts():
        if isinstance(part, LongLine):
            yield Rejection(line, part.reason, shown(part.start))
            continue
        for number, ended in enumerate(part.split(b"\n")[:-1], line):
            text = ended.strip(_AROUND)
            if not text:
                continue
            try:
                if len(text) > LONGEST_LINE_BYTES:
                    raise InvalidEvent(None, why_too_long(len(text), b""))
                event = objects.parse(number, text)
            except InvalidEvent as exc:
                yield Rejection(number, exc.with_option, shown(ended.rstrip(b"\r")))
            else:
                yield number, event


class _Objects:
    """Parses the objects of one input."""

    def __init__(self, source: LineInput, reading: Reading) -> None:
        self._source = source
        self._columns = reading.columns
        self._is_stored = reading.is_stored
        self._parse = row_parser(parse_time=reading.time_parser(), is_stored=reading.is_stored)
        self._is_first = True
        #: The first name of each field. Another one may mean something else, such as an account
        #: in the place of a user; exporters leave out fields that are null.
        self._first_names: dict[str, str] = {}
        #: The name of each field, by all the names of an object.
        self._names: dict[tuple[str, ...], list[str]] = {}

    def parse(self, line: int, text: bytes) -> Event:
        try:
            values = {name: bytes(value) for name, value in decode_object(text).items()}
        except InvalidEvent as exc:
            if self._is_first:
                what, how = f"not JSON Lines: the line {exc}", "one object a line, as with jq -c ."
                if text.startswith(b"["):
                    what, how = "a JSON array", "one object a line, as with jq -c '.[]'"
                if _VALUES.match(text):
                    how = "CSV, as with jq -r @csv"
                raise InvalidInput(
                    f"{self._source.name}, line {line}: {what}. Write {how}"
                ) from exc
            raise
        if SPEC_VERSION in values and not self._columns:
            self._is_first = False
            return parse_cloud_event(text, is_stored=self._is_stored)
        names = self._names_in(line, values)
        self._is_first = False
        check_repeated(text, values, names)
        return self._parse(
            [
                _text_of(field, values[name], is_time=field == "timestamp")
                for field, name in zip(COLUMNS, names, strict=True)
            ]
        )

    def _names_in(self, line: int, values: dict[str, bytes]) -> list[str]:
        keys = tuple(values)
        names = self._names.get(keys)
        if names is None:
            try:
                layout = find_columns(keys, self._columns)
            except InvalidInput as exc:
                if self._is_first:
                    arrays = [name for name in keys if _OBJECTS.match(values[name])]
                    where = f"{self._source.name}, line {line}"
                    if len(arrays) == 1:
                        raise InvalidInput(
                            f"{where}: an object with the array {arrays[0]!r}. Write one object a "
                            f"line, as with jq -c '.[{dumps(arrays[0])}][]'"
                        ) from exc
                    nested = [name for name in keys if values[name].startswith(b"{")][:5]
                    hint = (
                        f". Fields inside {', '.join(map(repr, nested))} are not read: move them "
                        f"up, as with jq -c '. + .[{dumps(nested[-1])}]'"
                        if nested
                        else ""
                    )
                    raise InvalidInput(f"{where}: the object {exc}{hint}") from exc
                raise InvalidEvent(None, str(exc)) from exc
            names = [keys[index] for index in layout.indexes]
            for field, name in zip(COLUMNS, names, strict=True):
                first = self._first_names.setdefault(field, name)
                if bare_name(name) != bare_name(first):
                    raise InvalidEvent(
                        None,
                        f"has {name!r} for {field}, but an earlier line has {first!r}: use one "
                        "name",
                        f"choose with --columns {field}={first}",
                    )
            ignored = self._source.ignored
            ignored += [name for name in layout.ignored if name not in ignored]
            del ignored[_MAX_IGNORED:]
            if len(self._names) < _MAX_IGNORED:
                self._names[keys] = names
        return names


def _text_of(field: str, value: bytes, *, is_time: bool) -> str:
    """A string, or a number as it is written: ids are whole numbers, times any."""
    if value[:1] in b"-0123456789" and (is_time or _WHOLE_NUMBER.fullmatch(value)):
        return value.decode()
    if value[:1] != b'"':
        not_whole = " that is not written as a whole one" if json_type(value) == "a number" else ""
        raise InvalidEvent(field, f"is {json_type(value)}{not_whole}, not a string")
    return string_of(field, value)
