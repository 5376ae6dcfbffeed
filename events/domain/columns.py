"""Which column of a file is which field of an event."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import NamedTuple

from events.domain.parsing import COLUMNS, parse_event
from events.domain.timestamps import parse_timestamp
from events.errors import InvalidEvent, InvalidInput
from events.models import Event

#: Other names of the fields, as exports of other systems have them, without case and separators.
ALIASES = {
    "customer_id": "customer user user_id account account_id tenant tenant_id organization_id "
    "org_id client_id subject external_customer_id",
    "event_type": "event type event_name",
    "transaction_id": "idempotency_key external_id message_id",
    "timestamp": "time ts datetime created_at occurred_at event_time event_timestamp",
}
_SEPARATORS = re.compile(r"[\s_.-]+")


def bare_name(name: str) -> str:
    """A name without case and separators."""
    return _SEPARATORS.sub("", name).casefold()


_FIELDS = {bare_name(name): field for field in COLUMNS for name in (field, *ALIASES[field].split())}


class Layout(NamedTuple):
    """Where the four fields of an event are among the columns of a file."""

    #: The index of each field, in the order of `COLUMNS`.
    indexes: tuple[int, int, int, int]
    #: How many cells a row has, without empty ones at its end.
    width: int
    #: Columns that are not read.
    ignored: tuple[str, ...] = ()


NO_HEADER = Layout((0, 1, 2, 3), 4)


RowParser = Callable[[Sequence[str]], Event]


def row_parser(
    layout: Layout = NO_HEADER,
    parse_time: Callable[[str], datetime] = parse_timestamp,
    *,
    is_stored: bool = False,
) -> RowParser:
    """Make a parser of rows; it raises `InvalidEvent`. `is_stored` is as for `parse_event`."""
    parse = partial(parse_event, is_stored=True) if is_stored else parse_event
    width = layout.width
    in_order = itemgetter(*layout.indexes)
    is_in_order = layout == NO_HEADER

    def parse_row(row: Sequence[str]) -> Event:
        if len(row) != width:
            row = _fitted(row, layout)
        if is_in_order:
            customer_id, event_type, transaction_id, timestamp = row
        else:
            customer_id, event_type, transaction_id, timestamp = in_order(row)
        return parse(customer_id, event_type, transaction_id, timestamp, parse_time)

    return parse_row


def _fitted(row: Sequence[str], layout: Layout) -> Sequence[str]:
    """The cells of a row that only has empty cells beyond those of the header."""
    if len(row) > layout.width and not any(row[layout.width :]):
        return row[: layout.width]
    columns = f"{len(row)} column{'' if len(row) == 1 else 's'}"
    raise InvalidEvent(None, f"has {columns}, not {layout.width}")


def parse_mapping(text: str) -> dict[str, str]:
    """Columns by field, from `customer_id=user_id,timestamp=created_at`; or `InvalidInput`."""
    columns: dict[str, str] = {}
    for part in text.split(","):
        field, sign, column = (piece.strip() for piece in part.partition("="))
        if not (field and sign and column):
            raise InvalidInput(f"{part!r}: write FIELD=COLUMN, such as customer_id=user")
        if field not in COLUMNS:
            raise InvalidInput(f"{field!r} is unknown: the fields are {','.join(COLUMNS)}")
        if field in columns:
            raise InvalidInput(f"has {field!r} twice")
        columns[field] = column
    return columns


def names_known(names: Sequence[str], mapping: Mapping[str, str]) -> int:
    """How many names are those of a field, by `mapping` or well known."""
    mapped = {bare_name(column) for column in mapping.values()}
    return sum(bare_name(name) in _FIELDS or bare_name(name) in mapped for name in names)


def find_columns(names: Sequence[str], mapping: Mapping[str, str]) -> Layout:
    """
    Find the fields of an event among the names of columns.

    Args:
        mapping: Columns by field; other fields are found by their names and well-known aliases.

    Raises:
        InvalidInput: A field has no column, or more than one. The sentence lacks its subject.
    """
    bare = [bare_name(name) for name in names]
    taken = {bare_name(column) for column in mapping.values()}
    indexes: list[int] = []
    missing: list[str] = []
    for field in COLUMNS:
        if field in mapping:
            # The exact name decides between columns that differ in case or separators only.
            found = [index for index, name in enumerate(names) if name.strip() == mapping[field]]
            found = found or [i for i, name in enumerate(bare) if name == bare_name(mapping[field])]
            if not found:
                raise InvalidInput(
                    f"lacks {mapping[field]!r}, named in --columns for {field}; "
                    f"it has {_listed(names)}"
                )
        else:
            found = [
                index
                for index, name in enumerate(bare)
                if _FIELDS.get(name) == field and name not in taken
            ]
        if len(found) > 1:
            choices = _listed([names[index] for index in found])
            raise InvalidInput(
                f"has several names for {field}: {choices}. Choose, such as "
                f"--columns {field}={names[found[0]].strip()}"
                if len({names[index] for index in found}) > 1
                else f"repeats {names[found[0]].strip()!r}"
            )
        indexes += found
        missing += [field] * (not found)
    if missing:
        example = ",".join(f"{field}=COLUMN" for field in missing)
        raise InvalidInput(
            f"lacks {_listed(missing)}; it has {_listed(names)}. If a field has another name here, "
            f"add --columns {example}"
        )
    named = [index for index, name in enumerate(names) if name.strip()]
    ignored = tuple(names[index].strip() for index in named if index not in indexes)
    customer_id, event_type, transaction_id, timestamp = indexes
    return Layout((customer_id, event_type, transaction_id, timestamp), named[-1] + 1, ignored)


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name.strip()[:100]) for name in names if name.strip()]
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return (", ".join(shown[:20]) or "no names") + more
