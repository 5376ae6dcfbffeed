"""Assumed time zones, and lenient timestamps."""

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from events.domain.timestamps import (
    parse_timestamp,
)
from events.errors import InvalidEvent

AT = datetime(2021, 3, 1, 0, 10, 5, 657_000, tzinfo=UTC)
TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
NEW_YORK = ZoneInfo("America/New_York")
LIKE = "write it like 2021-03-01T00:10:05.657Z"
NO_OFFSET = "has no offset: add Z or +00:00, or name the zone to assume"
OUTSIDE = "is outside the years 0001 to 9999"


def refusal(text: str, *, assume_zone: tzinfo | None = None, is_lenient: bool = False) -> str:
    with pytest.raises(InvalidEvent) as refused:
        parse_timestamp(text, assume_zone=assume_zone, is_lenient=is_lenient)
    assert refused.value.field == "timestamp"
    return refused.value.reason


@pytest.mark.parametrize(
    ("text", "zone", "at"),
    [
        ("2021-03-01 11:00:00", BERLIN, TEN),
        ("2021-07-01T12:00:00.5", BERLIN, datetime(2021, 7, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2021-03-01T10:00:00", UTC, TEN),
        ("2021-03-01T15:30:00", KOLKATA, TEN),
        # The clocks go back from 3:00 to 2:00 at 1:00 UTC: 2:30 comes first at 0:30 UTC.
        ("2021-10-31T02:30:00", BERLIN, datetime(2021, 10, 31, 0, 30, tzinfo=UTC)),
        ("2021-10-31T02:00:00", BERLIN, datetime(2021, 10, 31, 0, 0, tzinfo=UTC)),
        ("2021-10-31T03:00:00", BERLIN, datetime(2021, 10, 31, 2, 0, tzinfo=UTC)),
        ("2021-11-07T01:30:00", NEW_YORK, datetime(2021, 11, 7, 5, 30, tzinfo=UTC)),
        # They go forward from 2:00 to 3:00 at 1:00 UTC.
        ("2021-03-28T01:59:59.999999", BERLIN, datetime(2021, 3, 28, 0, 59, 59, 999_999, UTC)),
        ("2021-03-28T03:00:00", BERLIN, datetime(2021, 3, 28, 1, 0, tzinfo=UTC)),
    ],
)
def test_a_timestamp_without_offset_is_in_the_assumed_zone(
    text: str, zone: tzinfo, at: datetime
) -> None:
    parsed = parse_timestamp(text, assume_zone=zone)

    assert parsed == at
    assert parsed.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("text", "zone", "reason"),
    [
        (
            "2021-03-28T02:00:00",
            BERLIN,
            "2021-03-28 02:00:00 does not exist in Europe/Berlin: the clocks were set forward",
        ),
        (
            "2021-03-28 02:59:59.9999999",
            BERLIN,
            "2021-03-28 02:59:59.999999 does not exist in Europe/Berlin: "
            "the clocks were set forward",
        ),
        # A whole day that never was: Samoa crossed the date line.
        (
            "2011-12-30T12:00:00",
            ZoneInfo("Pacific/Apia"),
            "2011-12-30 12:00:00 does not exist in Pacific/Apia: the clocks were set forward",
        ),
        ("0001-01-01T00:00:00", KOLKATA, f"{OUTSIDE} in UTC"),
        ("9999-12-31T23:00:00", NEW_YORK, f"{OUTSIDE} in UTC"),
        ("2021-03-01", BERLIN, f"'2021-03-01' has no time of day; {LIKE}"),
    ],
)
def test_a_local_time_that_does_not_exist_is_rejected(text: str, zone: tzinfo, reason: str) -> None:
    assert refusal(text, assume_zone=zone) == reason


@pytest.mark.parametrize(
    "text",
    [
        "March 1 2021 10:00 UTC",
        "1 Mar 2021 10:00:00 GMT",
        "Mon, 01 Mar 2021 10:00:00 +0000",
        "2021-03-01t10:00:00z",
        "2021-03-01  10:00Z",
        "20210301T100000Z",
        "2021-03-01 2 am -0800",
        "2021/03/01 15:30 +05:30",
        "٢٠٢١-٠٣-٠١ 10:00 UTC",
        "March 1 2021 10:00 UTC".rjust(128),
    ],
)
def test_lenient_accepts_what_dateutil_accepts(text: str) -> None:
    at = parse_timestamp(text, is_lenient=True)

    assert at == TEN
    assert at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["March 1 2021 11:00", "2021-03-01 11:00", "2021-03-01 10:00Z"])
def test_lenient_prefers_the_offset_in_the_text(text: str) -> None:
    assert parse_timestamp(text, assume_zone=BERLIN, is_lenient=True) == TEN


@pytest.mark.parametrize(
    "text",
    [
        "10",
        "10:00 UTC",
        "Tuesday 10:00 UTC",
        "March 10:00 UTC",
        "2021 10:00 UTC",
        "March 1 10:00 UTC",
        "March 2021 10:00 UTC",
        # Both defaults lead to the same Tuesday, but the text has no day.
        "Tue March 2021 10:00 UTC",
        "Sunday Feb 2021 10:00 UTC",
    ],
)
def test_lenient_rejects_a_text_without_a_whole_date(text: str) -> None:
    assert refusal(text, is_lenient=True) == f"{text!r} does not contain a whole date"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("March 1 2021 10:00", NO_OFFSET),
        ("2021-03-01T10:00:00", NO_OFFSET),
        ("2021-02-30T10:00:00Z", "'2021-02-30T10:00:00Z' is not a valid date and time: "),
        ("2021-03-01T10:00:60Z", "'2021-03-01T10:00:60Z' is a leap second, "),
        ("1 Mar 2021 10:00:60 UTC", "'1 Mar 2021 10:00:60 UTC' is not a date and time: second "),
        ("0001-01-01 00:00 +05", f"{OUTSIDE} in UTC"),
        ("9999-12-31 23:00 -05", f"{OUTSIDE} in UTC"),
        ("GMT+3", "'GMT+3' has an offset after GMT or UTC, whose sign is ambiguous"),
        (
            "2021-03-01 07:00 UTC -3",
            "'2021-03-01 07:00 UTC -3' has an offset after GMT or UTC, whose sign is ambiguous",
        ),
        ("01/02/21 10:00 UTC", "'01/02/21 10:00 UTC' has a year of two digits: write all four"),
        ("2021-W09-1", "'2021-W09-1' is not a date and time: "),
        (
            "2021-03-01 10:00 EST",
            "'2021-03-01 10:00 EST' has the unknown time zone 'EST': write its offset, such as ",
        ),
        ("2021-03-01 10:00Z\0x", r"'2021-03-01 10:00Z\x00x' has invalid characters; "),
        ("March 1 2021 " + " " * 128, f"has 141 characters; {LIKE}"),
    ],
    ids=ascii,
)
def test_lenient_rejects_other_invalid_timestamps(text: str, reason: str) -> None:
    assert refusal(text, is_lenient=True).startswith(reason)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1" * 30,  # OverflowError
        "99999999999-01-01 10:00 UTC",  # OverflowError
        "2021-03-01 " + "1" * 30 + "h",  # decimal.InvalidOperation
        "2021-03-01 10:" + "1" * 30 + ".5 UTC",  # decimal.InvalidOperation
        "2021-03-01 10:00 +9999",  # ValueError, from the use of the offset only
        "2021-03-01 10:00 +24:00",
        "20210301T1010-99",
        "²",
        "NaN",
        "\udcff",
    ],
    ids=ascii,
)
def test_lenient_raises_no_other_error(text: str) -> None:
    assert refusal(text, is_lenient=True)
    assert refusal(text, is_lenient=True, assume_zone=BERLIN)
