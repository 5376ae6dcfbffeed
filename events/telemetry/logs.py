"""What a service process logs: one record a line, that no caller can forge."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from events.domain.timestamps import format_timestamp

#: Of the request that is being answered; empty outside of one.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

#: What ends a line, moves the cursor of a terminal, or turns the order of letters around; and
#: halves of characters, which cannot be written.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NEVER_EXTRA = frozenset(
    (*logging.LogRecord("", 0, "", 0, "", None, None).__dict__, "message", "asctime", "taskName",
     "color_message")
)  # fmt: skip
#: Their own debug lines hold whole requests, signatures too.
_LEAST_OF_OTHERS = logging.WARNING
_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.asgi")


def escape(text: str) -> str:
    """`text` as it stays within its line: a line break is `\\n`, and the like."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in record.__dict__.items() if name not in _NEVER_EXTRA}
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        # Extra fields take no name that is ours.
        line = {**line, **{name: value for name, value in extra.items() if name not in line}}
        if exception := _exception(self, record):
            line["exception"] = exception
        # JSON escapes all that ends a line or is outside ASCII, but not DEL.
        return json.dumps(line, default=str).replace("\x7f", "\\u007f")


class TextLines(logging.Formatter):
    """For a terminal: a record is a line that begins with its time; its trace is indented."""

    def format(self, record: logging.LogRecord) -> str:
        request_id = REQUEST_ID.get()
        place = f"{record.name} {request_id}" if request_id else record.name
        line = f"{_time(record)} {record.levelname} {place}: {record.getMessage()}"
        trace = _exception(self, record).split("\n")
        # Whatever an exception's own text looks like, its lines begin like no record.
        return "\n".join([escape(line), *(f"    | {escape(each)}" for each in trace if each)])


def _time(record: logging.LogRecord) -> str:
    return format_timestamp(datetime.fromtimestamp(record.created, UTC))


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def configure(line_format: str, level: str, *, stream: TextIO | None = None) -> None:
    """
    Send everything that is logged in this process to one stream.

    Args:
        line_format: `json`, `text`, or `auto`: text if the stream is a terminal.
        level: The least of ours that is logged; of others at least warnings, of uvicorn at least
            what is `info`.
        stream: None is standard error.
    """
    stream = stream or sys.stderr
    is_text = line_format == "text" or (line_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextLines() if is_text else JsonLines())
    least = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(least, _LEAST_OF_OTHERS))
    logging.getLogger("events").setLevel(least)
    for name in _UVICORN:
        _as_ours(name, max(least, logging.INFO))
    # Ours has a line for each request.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    logging.captureWarnings(capture=True)


def _as_ours(name: str, level: int) -> None:
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [], True
    logger.setLevel(level)
