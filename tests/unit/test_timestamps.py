"""Strict timestamps of events, and the reason of each rejection."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from events.domain.timestamps import (
    convert_to_iso_8601_utc,
    format_timestamp,
    parse_instant,
    parse_timestamp,
)
from events.domain.zones import LocalTimes
from events.errors import InvalidEvent, InvalidWindow

AT = datetime(2021, 3, 1, 0, 10, 5, 657_000, tzinfo=UTC)
TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LIKE = "write it like 2021-03-01T00:10:05.657Z"
NO_OFFSET = "has no offset: add Z or +00:00"
OUTSIDE = "is outside the years 0001 to 9999"


def refusal(text: str) -> str:
    with pytest.raises(InvalidEvent) as refused:
        parse_timestamp(text)
    assert refused.value.field == "timestamp"
    return refused.value.reason


def window_refusal(text: str) -> str:
    with pytest.raises(InvalidWindow) as refused:
        parse_instant(text, "start")
    assert refused.value.parameter == "start"
    assert str(refused.value) == f"start: {refused.value.reason}"
    return refused.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01 00:10:05.657+00",
        "2021-03-01T00:10:05.657+00",
        "2021-03-01T00:10:05.657Z",
        "2021-03-01 00:10:05.657Z",
        "2021-03-01T00:10:05.657+00:00",
        "2021-03-01T00:10:05.657-00:00",
        "2021-03-01T00:10:05.657+0000",
        "2021-02-28T16:10:05.657-08:00",
        "2021-02-28 16:10:05.657-0800",
        "2021-02-28 16:10:05.657-08",
        "2021-03-01T05:40:05.657+05:30",
        "2021-03-02T00:09:05.657+23:59",
        "2021-02-28T00:11:05.657-23:59",
        "2021-03-01T00:10:05.6570Z",
        "2021-03-01T00:10:05.65700000000000000000Z",
    ],
)
@pytest.mark.parametrize("zone", [None, BERLIN])
def test_one_instant_can_be_written_in_many_ways(text: str, zone: tzinfo | None) -> None:
    at = parse_timestamp(text, LocalTimes(zone))

    assert at == AT
    assert at.tzinfo is UTC


@pytest.mark.parametrize(
    ("fraction", "microseconds"),
    [
        ("", 0),
        (".1", 100_000),
        (".000001", 1),
        (".999999", 999_999),
        (".9999999", 999_999),
        (".0000009", 0),
        (".12345678901234567890", 123_456),
    ],
)
def test_digits_beyond_microseconds_are_cut_off(fraction: str, microseconds: int) -> None:
    at = parse_timestamp(f"2021-03-01T10:00:00{fraction}Z")

    assert at == TEN.replace(microsecond=microseconds)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T01:00:00+01:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
        ("9999-12-31T15:59:59.999999-08", datetime.max.replace(tzinfo=UTC)),
        ("2020-02-29T00:00:00Z", datetime(2020, 2, 29, tzinfo=UTC)),
        ("2021-01-01T00:00:00+00:01", datetime(2020, 12, 31, 23, 59, tzinfo=UTC)),
    ],
)
def test_the_ends_of_the_calendar_are_accepted(text: str, at: datetime) -> None:
    assert parse_timestamp(text) == at


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("2021-03-01T00:10:05", NO_OFFSET),
        ("2021-03-01 00:10:05.657", NO_OFFSET),
        ("2021-03-01", f"'2021-03-01' has no time of day; {LIKE}"),
        (
            "2021-03-01T00:10:05.657 00:00",
            "'2021-03-01T00:10:05.657 00:00' has a space where the sign of the offset should be; "
            f"{LIKE}",
        ),
        (
            "2016-12-31T23:59:60Z",
            "'2016-12-31T23:59:60Z' is a leap second, which UTC datetimes cannot hold: "
            "send second 59",
        ),
        ("0000-01-01T00:00:00Z", OUTSIDE),
        ("0001-01-01T00:00:00+00:01", f"{OUTSIDE} in UTC"),
        ("9999-12-31T23:59:59.999999-00:01", f"{OUTSIDE} in UTC"),
        ("0" * 128, f"'{'0' * 128}' is a number; {LIKE}"),
        ("0" * 129, f"has 129 characters; {LIKE}"),
        ("x" * 1_000_000, f"has 1,000,000 characters; {LIKE}"),
    ],
)
def test_the_reason_names_the_broken_rule(text: str, reason: str) -> None:
    assert refusal(text) == reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2021-02-29T00:00:00Z", "day is out of range for month"),
        ("2021-13-01T00:00:00Z", "month must be in 1..12"),
        ("2021-00-01T00:00:00Z", "month must be in 1..12"),
        ("2021-03-00T00:00:00Z", "day is out of range for month"),
        ("2021-03-01T24:00:00Z", "hour must be in 0..23"),
        ("2021-03-01T00:60:00Z", "minute must be in 0..59"),
        ("2021-03-01T00:00:61Z", "second must be in 0..59"),
    ],
)
def test_dates_and_times_that_do_not_exist_are_rejected(text: str, why: str) -> None:
    assert refusal(text).startswith(f"{text!r} is not a valid date and time: {why}")


@pytest.mark.parametrize("offset", ["+24:00", "-24", "-99", "+9900", "-30:59"])
def test_an_offset_of_a_day_or_more_is_rejected(offset: str) -> None:
    event, window = f"2021-03-01T00:00:00{offset}", f"2021-03-01T00:00{offset}"

    assert refusal(event) == f"{event!r} has an offset of 24 hours or more"
    assert window_refusal(event) == refusal(event)
    assert window_refusal(window) == f"{window!r} has an offset of 24 hours or more"


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01  00:10:05Z",
        "2021-03-01_00:10:05Z",
        " 2021-03-01T00:10:05Z",
        "2021-03-01T00:10:05Z ",
        "2021-03-01T00:10Z",
        "2021-03-01T00:10:05.Z",
        "2021-03-01T00:10:05,657Z",
        "2021-03-01T00:10:05+0",
        "2021-03-01T00:10:05+00:60",
        "2021-03-01T00:10:05+00:00:00",
        "2021-03-01T00:10:05+00:0",
        "2021-3-1T00:10:05Z",
        "21-03-01T00:10:05Z",
        "12021-03-01T00:10:05Z",
        "-2021-03-01T00:10:05Z",
        "+2021-03-01T00:10:05Z",
        "20210301T001005Z",
        "2021-W09-1T00:10:05Z",
        "2021-060T00:10:05Z",
        "2021-03-01T00:10:05ZZ",
        "March 1 2021 10:00 UTC",
        "timestamp",
    ],
)
def test_other_formats_are_rejected(text: str) -> None:
    assert refusal(text) == f"{text!r} is not a date and time; {LIKE}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2021-03-01T00:10:05Z\0", r"'2021-03-01T00:10:05Z\x00'"),
        ("2021-03-01T00:10:05Z\0and more", r"'2021-03-01T00:10:05Z\x00and more'"),
        ("2021-03-01\x0000:10:05Z", r"'2021-03-01\x0000:10:05Z'"),
        ("2021-03-01T00:10:05Z\n", r"'2021-03-01T00:10:05Z\n'"),
        ("2021-03-01\t00:10:05Z", r"'2021-03-01\t00:10:05Z'"),
        ("2021-03-01\xa000:10:05Z", r"'2021-03-01\xa000:10:05Z'"),
        ("2021-03-01🕙00:10:05Z", r"'2021-03-01\U0001f55900:10:05Z'"),
        ("٢021-03-01T00:10:05Z", r"'\u0662021-03-01T00:10:05Z'"),
        ("2021-03-01T00:10:0５Z", r"'2021-03-01T00:10:0\uff15Z'"),
        ("2021-03-01T00:10:05−08:00", r"'2021-03-01T00:10:05\u221208:00'"),
        ("2021-03-01T00:10:05\udcffZ", r"'2021-03-01T00:10:05\udcffZ'"),
    ],
    ids=ascii,
)
def test_invalid_characters_are_shown_escaped(text: str, shown: str) -> None:
    assert refusal(text) == f"{shown} has invalid characters; {LIKE}"


@pytest.mark.parametrize(
    "text",
    [
        "2021-02-30T00:00:00." + "0" * 60_000 + "Z",
        "2021-03-01T00:00:60." + "0" * 60_000 + "Z",
        "2021-03-01T" + "0" * 60_000 + " 00",
        "x" * 60_000,
    ],
    ids=["no such day", "leap second", "space for plus", "no timestamp"],
)
def test_the_reason_is_short_for_a_long_text(text: str) -> None:
    assert len(refusal(text)) < 400
    assert len(window_refusal(text)) < 400


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (AT, "2021-03-01T00:10:05.657000Z"),
        (TEN, "2021-03-01T10:00:00.000000Z"),
        (AT.astimezone(NEW_YORK), "2021-03-01T00:10:05.657000Z"),
        (
            datetime(1000, 1, 1, 4, tzinfo=timezone(timedelta(hours=5))),
            "0999-12-31T23:00:00.000000Z",
        ),
        (datetime.min.replace(tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_timestamp_is_formatted_as_27_characters(at: datetime, text: str) -> None:
    assert format_timestamp(at) == text
    assert len(text) == 27


def test_conversion_returns_iso_8601_in_utc() -> None:
    assert convert_to_iso_8601_utc("2021-03-01 00:10:05.657+00") == "2021-03-01T00:10:05.657000Z"


def test_conversion_rejects_an_invalid_timestamp() -> None:
    with pytest.raises(InvalidEvent) as refused:
        convert_to_iso_8601_utc("yesterday")

    assert str(refused.value) == f"timestamp: 'yesterday' is not a date and time; {LIKE}"
