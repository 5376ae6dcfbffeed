"""Days, weeks and months follow the chosen time zone, as the API counts them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from events.domain import calendars
from events.models import Calendar, Unit, Window
from tests.browser.conftest import CUSTOMER, FIRST, Json, Open, Site, Tab

KOLKATA = "Asia/Kolkata"
_START_OF_DAYS = """([zone, days]) => import("/static/zones.js").then(
    ({ fromLocal, toLocal }) => days.map((day) => {
        const at = fromLocal(Date.parse(`${day}T00:00Z`), zone);
        return [at, new Date(toLocal(at, zone)).toISOString().slice(0, 10)];
    }))"""


def partial_and_count(tab: Tab) -> list[tuple[bool, int]]:
    return [("partial" in row[0], int(row[-1].replace(",", ""))) for row in tab.all_rows()]


def of_api(answer: Json) -> list[tuple[bool, int]]:
    return [(bucket["partial"], bucket["count"]) for bucket in answer["buckets"]]


@pytest.mark.parametrize("zone", [KOLKATA, "Europe/Berlin", "America/New_York"])
def test_bars_are_the_buckets_of_the_api(tab: Tab, site: Site, zone: str) -> None:
    local = ZoneInfo(zone)
    start, end = (
        datetime(2021, month, day, tzinfo=local).isoformat() for month, day in ((3, 3), (4, 6))
    )
    for unit, heading in (("day", "Day"), ("week", "Week of"), ("month", "Month")):
        tab.open(customer=CUSTOMER, start="2021-03-03", end="2021-04-06", timezone=zone, bars=unit)
        parameters = {"window": unit, "timezone": zone, "fill": "zero"}
        answer = site.buckets(CUSTOMER, start=start, end=end, **parameters)
        expect(tab.locator("#stat-total")).to_have_text(str(answer["total"]))
        assert partial_and_count(tab) == of_api(answer), unit
        assert tab.text("#table-head th >> nth=0") == f"{heading} ({zone})"
        assert tab.text("#result-range") == f"3 Mar 2021 – 5 Apr 2021, {zone}"
        is_cut = any(partial for partial, _ in of_api(answer))
        assert (tab.locator("#plot path.hatched").count() > 0) == is_cut, unit
        assert len(tab.bucket_queries()) == 1


def test_the_previous_period_is_whole_bars_earlier(tab: Tab, site: Site) -> None:
    # 7 days and 6½ hours take 175 whole hours, 8 whole days or 2 whole weeks.
    week = ("2021-03-28T00:00", "2021-04-04T06:30")
    for unit, dates, previous in (
        ("hour", week, ("2021-03-20T17:00", "2021-03-27T23:30")),
        ("day", week, ("2021-03-20T00:00", "2021-03-27T06:30")),
        ("week", week, ("2021-03-14T00:00", "2021-03-21T06:30")),
        (
            "month",
            ("2021-04-01T00:00", "2021-05-01T00:00"),
            ("2021-03-01T00:00", "2021-04-01T00:00"),
        ),
        (
            "month",
            ("2021-03-31T12:00", "2021-04-02T00:00"),
            ("2021-01-31T12:00", "2021-02-02T00:00"),
        ),
    ):
        state = {"start": dates[0], "end": dates[1], "timezone": KOLKATA, "bars": unit}
        tab.open(customer=CUSTOMER, compare="previous", **state)
        first, last = (f"{text}+05:30" for text in previous)
        total = site.buckets(CUSTOMER, start=first, end=last)["total"]
        expect(tab.locator("#stat-change")).to_contain_text(
            f"from {total} in the previous" if total else "none in the previous period"
        )
        in_utc = [datetime.fromisoformat(text).astimezone(UTC) for text in (first, last)]
        expected = "start={:%Y-%m-%dT%H:%M:%SZ}&end={:%Y-%m-%dT%H:%M:%SZ}".format(*in_utc)
        assert [expected in query for query in tab.bucket_queries()] == [False, True], unit
        assert sum(int(row[-1]) for row in tab.all_rows()) == total, unit


def test_the_chart_says_if_there_is_no_previous_period(tab: Tab) -> None:
    tab.open(
        customer=CUSTOMER, start="2021-03-30", end="2021-03-31", bars="month", compare="previous"
    )
    expect(tab.locator("#chart-note")).to_contain_text("There is no previous period")
    assert len(tab.bucket_queries()) == 1


def test_hours_are_those_of_the_zone(tab: Tab, site: Site) -> None:
    """The hours of Kolkata begin at half past those of UTC."""
    tab.open(customer=CUSTOMER, start="2021-03-05", end="2021-03-06", timezone=KOLKATA)
    expect(tab.locator("#chart-note")).to_have_text("Events per hour (Asia/Kolkata).")
    rows = tab.rows()
    assert (rows[0][0], rows[-1][0], len(rows)) == ("5 Mar 2021, 00:00", "5 Mar 2021, 23:00", 24)
    answer = site.buckets(
        CUSTOMER,
        start="2021-03-05T00:00:00+05:30",
        end="2021-03-06T00:00:00+05:30",
        timezone=KOLKATA,
        fill="zero",
    )
    assert partial_and_count(tab) == of_api(answer)
    assert tab.text("#table-head th >> nth=0") == "Hour (Asia/Kolkata)"
    # The second event of the UTC hour from 12:00 is at 12:35.
    expect(tab.locator("#stat-busiest-when")).to_have_text("5 Mar 2021, 18:00–19:00 Asia/Kolkata")
    tab.page.get_by_label("24 h", exact=True).check()
    # The newest event is at 04:35 in Kolkata.
    expect(tab.locator("#result-range")).to_have_text(
        "9 Apr 2021, 05:00 – 10 Apr 2021, 05:00, Asia/Kolkata"
    )
    assert (len(tab.rows()), "partial" in str(tab.rows())) == (24, False)


def test_the_zone_is_chosen_and_stands_in_the_url(new_tab: Open, site: Site) -> None:
    tab = new_tab(site, zone="Europe/Berlin")
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#result-range")).to_have_text("11 Mar 2021 – 9 Apr 2021, UTC")
    zone = tab.page.get_by_label("Time zone", exact=True)
    zone.select_option("Europe/Berlin (yours)")
    # In Berlin the newest event is at 01:05 on the next day.
    expect(tab.locator("#result-range")).to_have_text("12 Mar 2021 – 10 Apr 2021, Europe/Berlin")
    assert "timezone=Europe%2FBerlin" in tab.page.url
    name = tab.page.get_by_label("Time zone name")
    zone.select_option("Other…")
    name.fill("Mars/Olympus")
    name.press("Enter")
    expect(tab.locator("#zone-error")).to_have_text(
        "Unknown time zone. Enter a name such as Europe/Berlin."
    )
    name.fill("america/new_york")
    name.press("Enter")
    expect(tab.locator("#result-range")).to_have_text("11 Mar 2021 – 9 Apr 2021, America/New_York")
    expect(name).to_be_hidden()
    expect(zone).to_have_value("America/New_York")
    other = new_tab(site, zone=KOLKATA)
    other.page.goto(tab.page.url)
    expect(other.locator("#result-range")).to_have_text(
        "11 Mar 2021 – 9 Apr 2021, America/New_York"
    )
    assert other.rows() == tab.rows()
    tab.page.get_by_label("Custom", exact=True).check()
    for label, date in (("Start", "2021-03-11T00:00"), ("End, exclusive", "2021-04-10T00:00")):
        expect(tab.page.get_by_label(f"{label} (America/New_York)")).to_have_value(date)
    tab.page.go_back()
    tab.page.go_back()
    expect(zone).to_have_value("Europe/Berlin")


def test_a_link_may_hold_timestamps_as_the_api_writes_them(tab: Tab, site: Site) -> None:
    for start, end, shown in (
        (
            "2021-03-04T23:00:00Z",
            "2021-03-05T22:30:00.000000Z",
            ("2021-03-05T00:00", "T23:30"),
        ),
        (
            "2021-03-05T08:00:00.250000+09:00",
            "2021-03-05T22:30:15Z",
            ("T00:00:00.25", "T23:30:15"),
        ),
    ):
        tab.open(customer=CUSTOMER, start=start, end=end, timezone="Europe/Berlin")
        expect(tab.locator("#stat-total")).to_have_text(
            str(site.buckets(CUSTOMER, start=start, end=end)["total"])
        )
        for name, text in zip(("start", "end"), shown, strict=True):
            assert tab.locator(f"#{name}").input_value().endswith(text)


def test_a_local_time_that_occurs_twice_is_not_guessed(tab: Tab) -> None:
    tab.open(
        customer=CUSTOMER,
        start="2020-10-25T01:30:00Z",  # the second 02:30 of that night
        end="2021-03-05T00:00:00Z",
        timezone="Europe/Berlin",
    )
    expect(tab.locator("#dates-error")).to_have_text("Enter a valid start and a valid end.")


def test_an_invalid_zone_in_a_link_counts_as_missing(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, timezone="+05:30")
    expect(tab.locator("#result-range")).to_have_text("11 Mar 2021 – 9 Apr 2021, UTC")


def test_days_start_where_the_service_starts_them(tab: Tab) -> None:
    tab.open()
    for zone, around in (
        ("Europe/Berlin", datetime(2021, 3, 28, tzinfo=UTC)),  # a day of 23 hours
        (KOLKATA, datetime(2021, 3, 1, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(1986, 1, 1, tzinfo=UTC)),  # the offset grew by 15 minutes
        ("America/Sao_Paulo", datetime(2018, 11, 4, tzinfo=UTC)),  # midnight was skipped
        ("America/Havana", datetime(2018, 11, 4, tzinfo=UTC)),  # midnight occurred twice
        ("Australia/Lord_Howe", datetime(2018, 4, 1, tzinfo=UTC)),  # moved by half an hour
        ("Pacific/Apia", datetime(2011, 12, 31, tzinfo=UTC)),  # after a day that was skipped
        ("America/New_York", datetime(1883, 11, 18, tzinfo=UTC)),  # from an offset with seconds
    ):
        days = calendars.periods(
            Calendar(Unit.DAY, ZoneInfo(zone)),
            Window(around - timedelta(days=4), around + timedelta(days=4)),
        )
        starts = [day.start for day in days]
        dates = [start.astimezone(ZoneInfo(zone)).date().isoformat() for start in starts]
        assert tab.page.evaluate(_START_OF_DAYS, [zone, dates]) == [
            [round(start.timestamp() * 1_000), date]
            for start, date in zip(starts, dates, strict=True)
        ], zone


def test_days_that_the_api_gives_in_pages_are_all_drawn(tab: Tab, site: Site) -> None:
    # Midnight in Kolkata cuts the hour of each event, and one page counts at most 400 such hours.
    days = 450
    first = FIRST + timedelta(hours=18, minutes=10)
    site.post_at("nightly", *((first + timedelta(days=day)).isoformat() for day in range(days)))
    tab.open(customer="nightly", range="all", timezone=KOLKATA, bars="day")
    expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", str(days))
    expect(tab.locator("#stat-total")).to_have_text(str(days))
    assert len(tab.bucket_queries()) == 2
    assert partial_and_count(tab) == [(False, 1)] * days


def test_too_many_hours_are_drawn_by_day(tab: Tab, site: Site) -> None:
    site.post_at("old", FIRST.isoformat(), (FIRST - timedelta(days=500)).isoformat())
    tab.open(customer="old", range="all", bars="hour")
    expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", "501")
    expect(tab.locator("#chart-note")).to_contain_text(
        "This range has too many hours to draw, so it is shown by day."
    )


def test_two_thousand_years_show_only_months_with_events(tab: Tab, site: Site) -> None:
    site.post_at("ancient", "0001-01-01T00:00:00Z", "2021-03-01T00:00:00Z")
    tab.open(customer="ancient", range="all")
    expect(tab.locator("#chart-note")).to_contain_text("Only months with events are shown.")
    assert [row[0] for row in tab.rows()] == ["Jan 1", "Mar 2021 partial"]
    tab.open(customer="ancient", start="0001-01-01", end="2021-01-01")
    expect(tab.locator("#dates-error")).to_have_text(
        "This range is too long: the chart has at most 10,000 months."
    )
