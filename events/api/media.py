"""Which form of an answer a caller likes best."""

from __future__ import annotations

import re
from typing import Literal

Form = Literal["json", "csv", "jsonl", "parquet"]

MEDIA_TYPES: dict[Form, str] = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
_RANGES: dict[str, Form] = {
    "application/json": "json",
    "application/*": "json",
    "*/*": "json",
    "text/csv": "csv",
    "text/*": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/vnd.apache.parquet": "parquet",
}


def preferred(accept: str) -> Form:
    """What an `Accept` header likes best (RFC 9110, section 12.5.1); a tie: the first; JSON."""
    best = 0.0
    form: Form = "json"
    for media_range in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in media_range.split(";"))
        weights = [each.removeprefix("q=") for each in parameters if each.startswith("q=")]
        weight = _weight(weights[0]) if weights else 1.0
        if weight > best and media_type in _RANGES:
            best, form = weight, _RANGES[media_type]
    return form


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](?:\.[0-9]{0,3})?", text) else 0.0
