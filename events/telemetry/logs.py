"""Logging of a service: one record per line. Callers cannot forge a line."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from events.domain.timestamps import format_timestamp

#: Id of the current request; empty outside of a request.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

#: Characters that end a line, control a terminal or change the text direction, and lone surrogates,
#: which cannot be encoded.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NEVER_EXTRA = frozenset(
    (*logging.LogRecord("", 0, "", 0, "", None, None).__dict__, "message", "asctime", "taskName",
     "color_message")
)  # fmt: skip
#: Debug lines of other libraries contain whole requests, including signatures.
_MIN_LEVEL_OF_OTHERS = logging.WARNING


def escape(text: str) -> str:
    """`text` with line breaks as `\\n` and other unsafe characters escaped likewise."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class JsonLines(logging.Formatter):
    """One JSON object per line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        for name, value in record.__dict__.items():
            if name not in _NEVER_EXTRA:
                line.setdefault(name, value)  # extra fields cannot replace the fields above
        if exception := _exception(self, record):
            line["exception"] = exception
        # JSON escapes every other control character and everything outside ASCII.
        return json.dumps(line, default=str).replace("\x7f", "\\u007f")


class TextLines(logging.Formatter):
    """For a terminal: one line per record, starting with the time; tracebacks are indented."""

    def format(self, record: logging.LogRecord) -> str:
        request_id = REQUEST_ID.get()
        source = f"{record.name} {request_id}" if request_id else record.name
        line = f"{_time(record)} {record.levelname} {source}: {record.getMessage()}"
        trace = _exception(self, record).split("\n")
        # An exception's text cannot imitate a record: its lines are indented.
        return "\n".join([escape(line), *(f"    | {escape(text)}" for text in trace if text)])


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
    Send all logs of this process to one stream.

    Args:
        line_format: `json`, `text`, or `auto`: text if the stream is a terminal.
        level: Minimum level for our loggers. Other libraries log warnings and above, uvicorn info
            and above.
        stream: None means standard error.
    """
    stream = stream or sys.stderr
    is_text = line_format == "text" or (line_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextLines() if is_text else JsonLines())
    minimum = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(minimum, _MIN_LEVEL_OF_OTHERS))
    logging.getLogger("events").setLevel(minimum)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.setLevel(max(minimum, logging.INFO))
        # The API's own access log has a line per request.
        logger.handlers, logger.propagate = [], name != "uvicorn.access"
    logging.captureWarnings(capture=True)
