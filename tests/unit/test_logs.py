"""Log lines: one line per record, which no caller can forge."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.telemetry import logs
from events.telemetry.logs import REQUEST_ID, JsonLines, TextLines, escape

AT = 1_614_557_405.25
AT_TEXT = "2021-03-01T00:10:05.250000Z"
#: Characters that end a line, or change how a line looks, in some program.
NASTY = "\n\r\t\x00\x0b\x0c\x1b\x1c\x1d\x1e\x7f\x85\x9b\u2028\u2029\u202e\u2066\ud800"
texts = st.text(st.one_of(st.sampled_from(NASTY), st.characters()), max_size=60)


def record_of(message: str, error: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("events.x", logging.INFO, "x.py", 1, "%s", (message,), exc_info)
    record.created = AT
    record.__dict__.update(extra)
    return record


def raised(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as exc:
        return exc


# --- JSON -----------------------------------------------------------------------------------------


def test_a_json_line_has_all_fields_of_a_record() -> None:
    line = JsonLines().format(record_of("hello", route="/x", status=200, color_message="no"))
    assert json.loads(line) == {
        "time": AT_TEXT,
        "level": "info",
        "logger": "events.x",
        "message": "hello",
        "route": "/x",
        "status": 200,
    }


def test_lines_within_a_request_have_its_id() -> None:
    token = REQUEST_ID.set("abc")
    try:
        line = json.loads(JsonLines().format(record_of("hello", request_id="forged", level="x")))
        text = TextLines().format(record_of("hello"))
    finally:
        REQUEST_ID.reset(token)
    assert (line["request_id"], line["level"]) == ("abc", "info")
    assert text == f"{AT_TEXT} INFO events.x abc: hello"


def test_a_traceback_is_one_string_in_a_json_line() -> None:
    line = JsonLines().format(record_of("failed", raised("why")))
    exception = json.loads(line)["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert exception.endswith("\nValueError: why")


@given(texts, texts, texts)
def test_no_input_breaks_out_of_its_json_line(message: str, field: str, error: str) -> None:
    line = JsonLines().format(record_of(message, raised(error), path=field))
    assert re.fullmatch("[ -~]+", line)
    read = json.loads(line)
    assert (read["time"], read["message"], read["path"]) == (AT_TEXT, message, field)
    assert read["exception"].endswith(f"\nValueError: {error}" if error else "\nValueError")


# --- text -----------------------------------------------------------------------------------------


def test_a_text_line_is_readable() -> None:
    assert TextLines().format(record_of("hallo Zürich")) == f"{AT_TEXT} INFO events.x: hallo Zürich"


def test_tracebacks_are_indented() -> None:
    first, *rest = TextLines().format(record_of("failed", raised("why"))).split("\n")
    assert first == f"{AT_TEXT} INFO events.x: failed"
    assert rest[0] == "    | Traceback (most recent call last):"
    assert rest[-1] == "    | ValueError: why"


@given(texts, texts)
def test_no_input_forges_a_text_line(message: str, error: str) -> None:
    text = TextLines().format(record_of(message, raised(f"{error}\n{AT_TEXT} INFO forged: x")))
    lines = text.splitlines()
    assert lines == text.split("\n")
    assert lines[0] == f"{AT_TEXT} INFO events.x: {escape(message)}"
    assert [line for line in lines[1:] if not line.startswith("    | ")] == []
    assert not set(text) & (set(NASTY) - {"\n"})


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain é 日本 😀", "plain é 日本 😀"),
        ("a\nb", r"a\nb"),
        ("a\r\tb", r"a\r\tb"),
        ("\x1b[2K", r"\x1b[2K"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\u202e\ud800\x7f", r"\u202e\ud800\x7f"),
    ],
)
def test_only_unsafe_characters_are_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped


# --- the process ----------------------------------------------------------------------------------

NAMES = ("", "events", "uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream for logs; all loggers are restored afterwards."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    for each in loggers:
        each.handlers = each.handlers[:]
    yield io.StringIO()
    logging.captureWarnings(capture=False)
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers, each.level, each.propagate = handlers, level, propagate
        each.manager._clear_cache()  # type: ignore[attr-defined] # as `setLevel` does


def test_all_logs_go_to_one_stream_other_libraries_from_warning_up(
    stream: io.StringIO,
) -> None:
    logging.getLogger("uvicorn.access").addHandler(logging.StreamHandler(stream))
    logs.configure("json", "debug", stream=stream)
    logging.getLogger("events.x").debug("ours")
    logging.getLogger("uvicorn.error").info("uvicorn's")
    logging.getLogger("uvicorn.error").debug("dropped")
    logging.getLogger("uvicorn.access").error("dropped")
    logging.getLogger("botocore.endpoint").info("dropped: it may hold a signature")
    logging.getLogger("botocore.endpoint").warning("others'")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == [
        "ours",
        "uvicorn's",
        "others'",
    ]


def test_records_below_the_level_are_dropped(stream: io.StringIO) -> None:
    logs.configure("json", "error", stream=stream)
    logging.getLogger("events.x").warning("dropped")
    logging.getLogger("uvicorn.error").warning("dropped")
    logging.getLogger("botocore").warning("dropped")
    assert stream.getvalue() == ""


@pytest.mark.usefixtures("stream")
@pytest.mark.parametrize(
    ("line_format", "made", "is_text"),
    [
        ("auto", Terminal, True),
        ("auto", io.StringIO, False),
        ("json", Terminal, False),
        ("text", io.StringIO, True),
    ],
)
def test_auto_is_text_on_a_terminal(
    line_format: str, made: type[io.StringIO], *, is_text: bool
) -> None:
    stream = made()
    logs.configure(line_format, "info", stream=stream)
    logging.getLogger("events").info("hello")
    assert stream.getvalue().startswith("{") is not is_text
