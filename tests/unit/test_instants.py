"""The start and end of a range, and names of time zones."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from events.domain.timestamps import parse_instant
from events.domain.zones import zone_named
from events.errors import InvalidInput, InvalidWindow

AT = datetime(2021, 3, 1, 0, 10, 5, 657_000, tzinfo=UTC)
TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
NEW_YORK = ZoneInfo("America/New_York")
LIKE = "write it like 2021-03-01T00:10:05.657Z"
NO_OFFSET = "has no offset: add Z or +00:00"
OUTSIDE = "is outside the years 0001 to 9999"


def window_refusal(text: str) -> str:
    with pytest.raises(InvalidWindow) as refused:
        parse_instant(text, "start")
    assert refused.value.parameter == "start"
    assert str(refused.value) == f"start: {refused.value.reason}"
    return refused.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01T10:00:00Z",
        "2021-03-01T10:00:00.000000Z",
        "2021-03-01 10:00:00+00",
        "2021-03-01T02:00:00-08:00",
        "2021-03-01T15:30:00+0530",
        "2021-03-01T15:30+05:30",
        "2021-03-01T10:00:00",
        "2021-03-01 10:00",
        "2021-03-01T10:00:00.0000009Z",
    ],
)
def test_a_range_end_may_have_any_offset_or_none_for_utc(text: str) -> None:
    at = parse_instant(text, "start")

    assert at == TEN
    assert at.tzinfo is UTC


def test_a_date_alone_means_its_midnight_in_utc() -> None:
    assert parse_instant("2021-03-01", "end") == datetime(2021, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (
            "2021-03-01T00:00:00 01:00",
            "'2021-03-01T00:00:00 01:00' has a space where the + of the offset should be: "
            "in a URL write + as %2B, or use Z",
        ),
        (
            "2021-03-01T00:00 01",
            "'2021-03-01T00:00 01' has a space where the + of the offset should be: "
            "in a URL write + as %2B, or use Z",
        ),
        (
            "2021-03-01T23:59:60Z",
            "'2021-03-01T23:59:60Z' is a leap second, which UTC datetimes cannot hold: "
            "send second 59",
        ),
        ("0000-01-01", OUTSIDE),
        ("0001-01-01T00:00:00+01:00", f"{OUTSIDE} in UTC"),
        ("9999-12-31T23:59:59-01:00", f"{OUTSIDE} in UTC"),
    ],
)
def test_the_reason_names_the_broken_rule(text: str, reason: str) -> None:
    assert window_refusal(text) == reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2021-02-29", "day is out of range for month"),
        ("2021-03-01T24:00", "hour must be in 0..23"),
    ],
)
def test_a_range_end_that_does_not_exist_is_rejected(text: str, why: str) -> None:
    assert window_refusal(text).startswith(f"{text!r} is not a valid date and time: {why}")


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01Z",
        "2021-03-01T10",
        "2021-03-01T10:00:00z",
        "2021-03",
        "2021-W09-1",
        "20210301",
        "10",
        "now",
        "1614592800",
        "2021-03-01\0",
        "2021-03-01T10:00:00Z\n",
        "٢٠٢١-03-01",
        " 2021-03-01",
        "x" * 128,
    ],
    ids=ascii,
)
def test_other_range_ends_are_rejected_and_shown_escaped(text: str) -> None:
    like = "is not an ISO 8601 date and time like 2021-03-01T00:00:00Z"

    assert window_refusal(text) == f"{text!a} {like}"


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
def test_a_zone_has_an_iana_name(name: str) -> None:
    assert zone_named(name) == ZoneInfo(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Nowhere",
        "Europe",
        "Europe/",
        "GMT+3",
        "+01:00",
        "/etc/passwd",
        "../UTC",
        "a\0b",
        "right/Europe/Berlin",
        "localtime",
        "\udcff",
    ],
    ids=ascii,
)
def test_an_unknown_zone_is_rejected(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        zone_named(name)

    assert str(refused.value) == (
        f"unknown time zone {name!r}: use an IANA name such as Europe/Berlin or UTC"
    )
