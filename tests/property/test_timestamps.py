"""Timestamps: every spelling of an instant is that instant, and nothing else gets through."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from hypothesis import assume, example, given
from hypothesis import strategies as st

from events.domain.epochs import EPOCH, UNITS
from events.domain.timeformats import Survey, timestamp_parser
from events.domain.timestamps import (
    convert_to_iso_8601_utc,
    format_timestamp,
    parse_instant,
    parse_timestamp,
)
from events.domain.zones import NO_ZONE, LocalTimes
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


#: What formats have a meaning for, so that a text of such pieces gets far into them.
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
    assert parse_timestamp(text) == Survey().decide(NO_ZONE)(text) == at
    assert parse_timestamp(text, LocalTimes(ZONES[0])) == at
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


def local_times(start: str, end: str) -> st.SearchStrategy[datetime]:
    return st.datetimes(datetime.fromisoformat(start), datetime.fromisoformat(end))


FORMATS = ["iso", "auto", *UNITS, "%d.%m.%Y %H:%M", "%Y-%m-%d %I %p", "%Y-%m-%dT%H:%M:%S%z"]


@given(free_texts | near_misses, st.sampled_from([None, *ZONES]), st.sampled_from(FORMATS))
@example("2021-03-01T10:00:00Z\0", None, "iso")
@example("2021-03-01T10:00:00Z\n", None, "%Y-%m-%dT%H:%M:%S%z")
@example("٢٠٢١-٠٣-٠١T١٠:٠٠:٠٠Z", None, "iso")
@example("٢٠٢١-٠٣-٠١T١٠:٠٠:٠٠Z", None, "%Y-%m-%dT%H:%M:%S%z")
@example("2021-03-01 10:00 +9999", None, "auto")
@example("1" * 30, None, "auto")
def test_any_text_is_an_instant_in_utc_or_rejected(
    text: str, zone: ZoneInfo | None, name: str
) -> None:
    local = LocalTimes(zone)
    parse = Survey().decide(local) if name == "auto" else timestamp_parser(name, local)
    result = outcome(lambda: parse(text))

    if isinstance(result, datetime):
        assert result.tzinfo is UTC
        assert result == parse_timestamp(format_timestamp(result))
        if name != "iso" or zone is not None:
            return
        # The rule of the design, or a text that names an offset, UTC, GMT or a zone.
        assert text.isascii() or "(" in text
        assert PATTERN.fullmatch(text) or re.search(r"[+-]\d\d|z|Z|UTC|GMT|/", text)
    else:
        assert isinstance(result, InvalidEvent)
        assert result.field == "timestamp"
        assert result.reason.isprintable()


#: How systems print an instant, by hand; each has the instant to the microsecond.
PRINTS: list[Callable[[datetime], str]] = [
    lambda at: f"{at:%Y-%m-%d %H:%M:%S.%f} UTC",
    lambda at: f"{at:%Y-%m-%dt%H:%M:%S.%f}z",
    lambda at: f"{at:%Y-%m-%d %H:%M:%S.%f} +0000 UTC m=+1.5",
    lambda at: f"{at:%a, %d %b %Y %H:%M:%S.%f} GMT",
    lambda at: f"{at:%a %b %d %H:%M:%S.%f UTC %Y}",
    lambda at: f"{at:%a %b %d %Y %H:%M:%S.%f} GMT+0000 (Coordinated Universal Time)",
    lambda at: f"{at:%d-%b-%Y %H:%M:%S.%f} +00:00",
    lambda at: f"{at.astimezone(ZONES[2]):%Y-%m-%d %H:%M:%S.%f} Asia/Kolkata",
    lambda at: f"{at.astimezone(ZONES[0]):%Y-%m-%dT%H:%M:%S.%f%z}[Europe/Berlin]",
    lambda at: f"{at.astimezone(ZONES[1]):%Y-%m-%d %H:%M:%S.%f %z %Z}",
]


@given(local_times("2000-01-02", "2099-01-01").map(lambda at: at.replace(tzinfo=UTC)))
def test_every_format_gives_the_same_instant(at: datetime) -> None:
    auto = Survey().decide(NO_ZONE)
    micros = (at - EPOCH) // timedelta(microseconds=1)
    seconds = f"{micros // 10**6}.{micros % 10**6:06}"
    milliseconds = f"{micros // 1_000}.{micros % 1_000:03}9"

    for text in [print_(at) for print_ in PRINTS]:
        assert parse_timestamp(text) == auto(text) == at
    for name, text in [
        ("epoch-s", seconds),
        ("epoch-ms", milliseconds),
        ("epoch-us", str(micros)),
        ("epoch-ns", f"{micros}999"),
        ("%d/%m/%Y %I:%M:%S.%f %p %z", f"{at:%d/%m/%Y %I:%M:%S.%f %p} Z"),
    ]:
        assert timestamp_parser(name, NO_ZONE)(text) == at
        if name in UNITS:
            survey = Survey()
            survey(text)
            assert survey.decide(NO_ZONE)(text) == at


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


@given(
    # On these nights clocks were set forward and back, in Europe and in America.
    local_times("2021-03-28T01:00", "2021-03-28T04:00")
    | local_times("2021-10-31T01:00", "2021-10-31T04:00")
    | local_times("2021-03-14T01:00", "2021-03-14T04:00")
    | local_times("2021-11-07T00:00", "2021-11-07T03:00")
    | local_times("1950-01-01", "2050-01-01"),
    st.sampled_from(ZONES),
)
def test_a_local_time_is_its_only_instant_or_a_choice(local: datetime, zone: ZoneInfo) -> None:
    # Offsets are whole half hours in these zones and years.
    offsets = [timedelta(minutes=minutes) for minutes in range(-12 * 60, 12 * 60 + 1, 30)]
    having_it = [
        at
        for at in (local.replace(tzinfo=UTC) - offset for offset in offsets)
        if at.astimezone(zone).replace(tzinfo=None) == local
    ]
    local_times = LocalTimes(zone)

    result = outcome(lambda: parse_timestamp(local.isoformat(), local_times))

    if isinstance(result, datetime):
        assert [result] == having_it
    elif having_it:
        assert f"occurs twice in {zone}, at " in result.reason
        first = parse_timestamp(local.isoformat(), local_times._replace(ambiguous_hour="first"))
        second = parse_timestamp(local.isoformat(), local_times._replace(ambiguous_hour="second"))
        assert [first, second] == sorted(having_it)
    else:
        assert result.reason.endswith(f"does not exist in {zone}: the clocks were set forward")
