"""What JSON Schema can say of ids and times, for the description of the API; checks nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from events.models import MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES

# ECMA-262, as JSON Schema asks for. White space is listed: `\s` means another set in each language.
_CONTROL = r"\x00-\x1f\x7f-\x9f"
_SPACE = r" \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
#: No control characters, no white space at either end, not empty.
ID_PATTERN = rf"^[^{_CONTROL}{_SPACE}](?:[^{_CONTROL}]*[^{_CONTROL}{_SPACE}])?$"

_DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_MINUTE = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECOND = r":[0-5][0-9](?:\.[0-9]+)?"
_OFFSET = r"(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)"
#: An event's timestamp. Not `format: date-time`, which would forbid the space and short offsets.
TIMESTAMP_PATTERN = rf"^{_DATE}[T ]{_MINUTE}{_SECOND}{_OFFSET}$"
#: What a window may be named by.
INSTANT_PATTERN = rf"^{_DATE}(?:[T ]{_MINUTE}(?:{_SECOND})?{_OFFSET}?)?$"
#: What `encode_cursor` makes.
CURSOR_PATTERN = "^[A-Za-z0-9_-]+$"
#: What `since` takes: an instant, or a cursor, which begins with a digit in base64.
SINCE_PATTERN = f"(?:{INSTANT_PATTERN})|^[M-O][A-Za-z0-9_-]+$"
#: What names of zones are made of.
ZONE_PATTERN = "^[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}$"

# The limits are bytes of UTF-8, which JSON Schema cannot count: never fewer than characters.
_MOST_CUSTOMER_ID_CHARACTERS = MAX_PARTITION_KEY_BYTES
#: An event type leaves room for a transaction id of at least one byte, and the other way round.
_MOST_KEY_PART_CHARACTERS = MAX_SORT_KEY_BYTES - 30

CustomerIdText = Annotated[
    str, Field(min_length=1, max_length=_MOST_CUSTOMER_ID_CHARACTERS, pattern=ID_PATTERN)
]
#: An event type or a transaction id.
KeyPartText = Annotated[
    str, Field(min_length=1, max_length=_MOST_KEY_PART_CHARACTERS, pattern=ID_PATTERN)
]
TimestampText = Annotated[str, Field(pattern=TIMESTAMP_PATTERN)]
InstantText = Annotated[str, Field(pattern=INSTANT_PATTERN)]
CursorText = Annotated[str, Field(pattern=CURSOR_PATTERN)]
SinceText = Annotated[str, Field(pattern=SINCE_PATTERN)]
ZoneText = Annotated[str, Field(pattern=ZONE_PATTERN)]
