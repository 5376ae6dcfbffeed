"""What the description says of ids and times is what is checked, as far as a pattern can say it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.api.parameters import encode_change_cursor, encode_cursor
from events.api.patterns import (
    CURSOR_PATTERN,
    ID_PATTERN,
    INSTANT_PATTERN,
    SINCE_PATTERN,
    TIMESTAMP_PATTERN,
)
from events.domain.parsing import check_event_type
from events.domain.timestamps import parse_instant, parse_timestamp
from events.errors import InvalidEvent, InvalidWindow
from events.models import ChangeCursor

#: Every character that one of Unicode's or Python's rules takes for white space, and neighbours.
_ODD = st.sampled_from(
    [*map(chr, range(0x21)), "\x7f", "\x80", "\x85", "\x9f", "\xa0", "\xad", "\u1680", "\u180e"]
    + [chr(code) for code in range(0x2000, 0x2010)]
    + ["\u2028", "\u2029", "\u202e", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", "😀"]
)
_TIME_CHARACTERS = st.text("0123456789-:.TZ+ ", max_size=32)


def matches(pattern: str, text: str) -> bool:
    # `$` as JSON Schema means it; in Python it also matches before a last line break.
    return re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text) is not None


def is_id(text: str) -> bool:
    try:
        check_event_type(text)
    except InvalidEvent:
        return False
    return True


def is_timestamp(text: str) -> bool:
    try:
        parse_timestamp(text)
    except InvalidEvent:
        return False
    return True


def is_instant(text: str) -> bool:
    try:
        parse_instant(text, "start")
    except InvalidWindow:
        return False
    return True


@given(st.text(st.characters(codec="utf-8") | _ODD, max_size=20))
@example("")
@example("a\n")
def test_the_pattern_of_an_id_is_the_rule_for_one(text: str) -> None:
    assert matches(ID_PATTERN, text) == is_id(text)


def test_every_character_is_an_id_or_not_as_the_pattern_says() -> None:
    code_points = [*range(0xD800), *range(0xE000, 0x110000)]  # without the halves of a pair
    wrong = [hex(at) for at in code_points if matches(ID_PATTERN, chr(at)) != is_id(chr(at))]
    assert wrong == []


@given(st.from_regex(TIMESTAMP_PATTERN[:-1], fullmatch=True))
def test_what_looks_like_a_timestamp_is_one_if_the_calendar_has_it(text: str) -> None:
    if int(text[8:10]) <= 28 and 1 < int(text[:4]) < 9999:
        assert is_timestamp(text)


@given(st.from_regex(INSTANT_PATTERN[:-1], fullmatch=True))
def test_what_looks_like_an_instant_is_one_if_the_calendar_has_it(text: str) -> None:
    if int(text[8:10]) <= 28 and 1 < int(text[:4]) < 9999:
        assert is_instant(text)


@given(_TIME_CHARACTERS | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.Z+-]*\n?"))
@example("2021-03-01T00:00:00Z")
@example("2021-03-01 23:59:59.1234567+0530")
@example("2021-03-01T24:00:00Z")
@example("2021-03-01T00:00:60Z")
@example("2021-03-01T00:00:00+24")
@example("2021-03-01T00:00:00Z\n")
def test_what_is_read_as_a_time_matches_its_pattern(text: str) -> None:
    assert matches(TIMESTAMP_PATTERN, text) or not is_timestamp(text)
    assert matches(INSTANT_PATTERN, text) or not is_instant(text)


@pytest.mark.parametrize("text", ["a", "é", "acme/1", "2021-03-01T00:00:00.000000Z", "😀" * 5])
def test_cursors_match_their_pattern(text: str) -> None:
    assert matches(CURSOR_PATTERN, encode_cursor(text))


@pytest.mark.parametrize("year", [1, 2021, 5999, 9999])
def test_cursors_of_changes_and_instants_match_what_since_takes(year: int) -> None:
    at = datetime(year, 1, 1, tzinfo=UTC)
    cursors = [ChangeCursor(at), ChangeCursor(at, 3), ChangeCursor(at, 0, "é#2021-03-01")]
    for text in (*map(encode_change_cursor, cursors), f"{at:%Y-%m-%d}".rjust(10, "0")):
        assert re.search(SINCE_PATTERN, text)
    assert not re.search(SINCE_PATTERN, f"{at:%Y}-01-01e")
