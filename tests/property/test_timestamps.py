"""Timestamps: every spelling of an instant is that instant, and nothing else gets through."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from hypothesis import assume, example, given
from hypothesis import strategies as st

from events.domain.timestamps import (
    convert_to_iso_8601_utc,
    format_timestamp,
    parse_instant,
    parse_timestamp,
)
from events.errors import InvalidEvent, InvalidWindow
from tests.property.strategies import instants

#: The rule of the design, written once more.
PATTERN = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)", flags=re.ASCII
)
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC")]


@st.composite
def spellings(draw: st.DrawFn) -> tuple[datetime, str]:
    """An instant, and one of the strict spellings it has."""
    at = draw(instants)
    minutes = draw(st.sampled_from([0, 0, 60, -480, 330]) | st.integers(-1439, 1439))
    try:
        local = at.astimezone(timezone(timedelta(minutes=minutes)))
    except OverflowError:  # a local time beyond the calendar has no spelling
        assume(False)
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else draw(st.sampled_from("+-")) if minutes == 0 else "+"
    offsets = [f"{sign}{hours:02d}:{rest:02d}", f"{sign}{hours:02d}{rest:02d}"]
    offsets += [f"{sign}{hours:02d}"] * (rest == 0) + ["Z"] * (minutes == 0)
    digits = f"{at.microsecond:06d}"
    beyond = draw(st.text("0123456789", max_size=6))
    fractions = [f".{digits}{beyond}", f".{digits.rstrip('0') or '0'}"]
    fractions += [""] * (at.microsecond == 0)
    text = (
        f"{local.replace(tzinfo=None).isoformat(draw(st.sampled_from('T ')), 'seconds')}"
        f"{draw(st.sampled_from(fractions))}{draw(st.sampled_from(offsets))}"
    )
    return at, text


#: What dateutil has a meaning for, so that a text of such pieces gets far into it.
PIECES = (
    st.sampled_from(["2021", "03", "1", "10", "31", "0", "00", "60", "9999", "0001", "1" * 30])
    | st.sampled_from(
        ["10:00", "20210301", "2021-03-01", "2021-03-01T10:00:00", "1e5", "1.5", ".5"]
    )
    | st.sampled_from(
        ["+", "-", ":", ".", ",", "/", "T", "+9999", "-99", "+24", "+05:30", "-00:00"]
    )
    | st.sampled_from(["Z", "z", "UTC", "GMT", "GMT+3", "EST", "am", "pm", "h", "m", "s", "of"])
    | st.sampled_from(["March", "Mar", "Tue", "Tuesday", "1st", "and", "NaN", "inf", "٣", "²", "½"])
)
free_texts = st.one_of(
    st.text(),
    st.lists(PIECES | st.just(" "), max_size=8).map(" ".join),
    st.lists(PIECES | st.just(" "), max_size=8).map("".join),
    st.lists(PIECES, max_size=4).map(lambda pieces: " ".join(["2021-03-01 10:00", *pieces])),
)
#: A good spelling with one character put in, over another, or left out.
near_misses = st.builds(
    lambda spelling, place, width, text: (
        f"{spelling[1][:place]}{text}{spelling[1][place + width :]}"
    ),
    spellings(),
    st.integers(0, 40),
    st.integers(0, 1),
    st.sampled_from(["", "0", "9", "٣", "０", "-", "−", "+", ":", "T", "t", "Z", ".", " ", "\0"])
    | st.sampled_from(["\n", "\udcff", "\u00a0"])
    | st.characters(),
)


@given(spellings())
def test_every_way_to_write_an_instant_is_equal(spelling: tuple[datetime, str]) -> None:
    at, text = spelling

    assert PATTERN.fullmatch(text)
    assert parse_timestamp(text) == parse_timestamp(text, is_lenient=True) == at
    assert parse_timestamp(text, assume_zone=ZONES[0]) == at
    assert parse_timestamp(text).tzinfo is UTC
    assert parse_instant(text, "start") == at


@given(instants)
def test_a_formatted_timestamp_parses_to_the_same_instant(at: datetime) -> None:
    text = format_timestamp(at)

    assert len(text) == 27
    assert parse_timestamp(text) == parse_instant(text, "end") == at
    assert convert_to_iso_8601_utc(text) == text


@given(instants, instants)
def test_formatted_timestamps_sort_in_order_of_time(one: datetime, other: datetime) -> None:
    assert (format_timestamp(one) < format_timestamp(other)) is (one < other)


def outcome(parse: Callable[[], datetime]) -> datetime | InvalidEvent | InvalidWindow:
    """What `parse` gives, or how it refuses; any other error is let through."""
    try:
        return parse()
    except (InvalidEvent, InvalidWindow) as refused:
        return refused


@given(free_texts | near_misses)
@example("2021-03-01T10:00:00Z\0")
@example("2021-03-01T10:00:00Z\n")
@example("٢٠٢١-٠٣-٠١T١٠:٠٠:٠٠Z")
def test_accepted_timestamps_match_an_ascii_pattern(text: str) -> None:
    result = outcome(lambda: parse_timestamp(text))

    if isinstance(result, datetime):
        assert PATTERN.fullmatch(text)
        assert text.isascii()
        assert result.tzinfo is UTC
    else:
        assert isinstance(result, InvalidEvent)
        assert result.field == "timestamp"
        assert result.reason.isprintable()


@given(free_texts | near_misses, st.sampled_from([None, *ZONES]))
@example("2021-03-01 10:00 +9999", None)
@example("1" * 30, None)
@example("2021-03-01 " + "1" * 30 + "h", None)
def test_lenient_returns_utc_or_raises_invalid_event(text: str, zone: ZoneInfo | None) -> None:
    result = outcome(lambda: parse_timestamp(text, assume_zone=zone, is_lenient=True))

    if isinstance(result, datetime):
        assert result.utcoffset() == timedelta(0)
        assert result == parse_timestamp(format_timestamp(result))
    else:
        assert isinstance(result, InvalidEvent)
        assert result.field == "timestamp"
        assert result.reason.isprintable()


@given(free_texts | near_misses)
def test_a_range_end_is_in_utc_or_raises_invalid_window(text: str) -> None:
    result = outcome(lambda: parse_instant(text, "start"))

    if isinstance(result, datetime):
        assert text.isascii()
        assert text.isprintable()
        assert result.tzinfo is UTC
    else:
        assert isinstance(result, InvalidWindow)
        assert result.parameter == "start"
        assert result.reason.isprintable()


def local_times(start: str, end: str) -> st.SearchStrategy[datetime]:
    return st.datetimes(datetime.fromisoformat(start), datetime.fromisoformat(end))


@given(
    # On these nights clocks were set forward and back, in Europe and in America.
    local_times("2021-03-28T01:00", "2021-03-28T04:00")
    | local_times("2021-10-31T01:00", "2021-10-31T04:00")
    | local_times("2021-03-14T01:00", "2021-03-14T04:00")
    | local_times("2021-11-07T00:00", "2021-11-07T03:00")
    | local_times("1950-01-01", "2050-01-01"),
    st.sampled_from(ZONES),
)
def test_a_local_time_is_its_first_instant_or_rejected(local: datetime, zone: ZoneInfo) -> None:
    # Offsets are whole half hours in these zones and years.
    offsets = [timedelta(minutes=minutes) for minutes in range(-12 * 60, 12 * 60 + 1, 30)]
    having_it = [
        at
        for at in (local.replace(tzinfo=UTC) - offset for offset in offsets)
        if at.astimezone(zone).replace(tzinfo=None) == local
    ]

    result = outcome(lambda: parse_timestamp(local.isoformat(), assume_zone=zone))

    if isinstance(result, datetime):
        assert result == min(having_it)
    else:
        assert result.reason.endswith(f"does not exist in {zone}: the clocks were set forward")
        assert having_it == []
