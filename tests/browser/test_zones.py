"""Days, weeks and months of a zone: those of the API, under the clocks of that zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from events.domain import calendars
from events.models import Calendar, Unit, Window
from tests.browser.conftest import CUSTOMER, FIRST, Json, Open, Site, Tab

KOLKATA = "Asia/Kolkata"
_BEGIN_OF_DAYS = """([zone, days]) => import("/static/zones.js").then(
    ({ fromLocal, toLocal }) => days.map((day) => {
        const at = fromLocal(Date.parse(`${day}T00:00Z`), zone);
        return [at, new Date(toLocal(at, zone)).toISOString().slice(0, 10)];
    }))"""


def numbers(tab: Tab) -> list[tuple[bool, int]]:
    """Of each row, whether it is partial, and its total."""
    return [("partial" in row[0], int(row[-1].replace(",", ""))) for row in tab.rows()]


def of_api(answer: Json) -> list[tuple[bool, int]]:
    return [(each["partial"], each["count"]) for each in answer["buckets"]]


@pytest.mark.parametrize("bars", ["day", "week", "month"])
@pytest.mark.parametrize("zone", ["UTC", KOLKATA, "Europe/Berlin", "America/New_York"])
def test_bars_are_the_windows_that_the_api_gives(
    tab: Tab, site: Site, zone: str, bars: str
) -> None:
    tab.open(customer=CUSTOMER, start="2021-03-03", end="2021-04-06", timezone=zone, bars=bars)
    local = ZoneInfo(zone)
    start, end = (
        datetime(2021, month, day, tzinfo=local).isoformat() for month, day in ((3, 3), (4, 6))
    )
    answer = site.buckets(CUSTOMER, start=start, end=end, window=bars, timezone=zone, fill="zero")
    expect(tab.locator("#stat-total")).to_have_text(str(answer["total"]))
    assert numbers(tab) == of_api(answer)
    heading = {"day": "Day", "week": "Week from", "month": "Month"}[bars]
    assert tab.text("#table-head th >> nth=0") == f"{heading} ({zone})"
    assert tab.text("#result-window") == f"3 Mar 2021 – 5 Apr 2021, {zone}"
    is_cut = any(partial for partial, _ in numbers(tab))
    assert (tab.locator("#plot path.hatched").count() > 0) == is_cut
    assert len(tab.asked("/buckets?")) == 1


@pytest.mark.parametrize(
    ("bars", "window", "before"),
    [
        # 7 days and 6 ½ hours are 175 hours begun, 8 days begun, 2 weeks begun.
        (
            "hour",
            ("2021-03-28T00:00", "2021-04-04T06:30"),
            ("2021-03-20T17:00", "2021-03-27T23:30"),
        ),
        ("day", ("2021-03-28T00:00", "2021-04-04T06:30"), ("2021-03-20T00:00", "2021-03-27T06:30")),
        (
            "week",
            ("2021-03-28T00:00", "2021-04-04T06:30"),
            ("2021-03-14T00:00", "2021-03-21T06:30"),
        ),
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
    ],
)
def test_the_period_before_is_so_many_whole_bars_earlier_by_the_same_clocks(
    tab: Tab, site: Site, bars: str, window: tuple[str, str], before: tuple[str, str]
) -> None:
    start, end = window
    tab.open(
        customer=CUSTOMER,
        start=start,
        end=end,
        timezone=KOLKATA,
        bars=bars,
        compare="previous",
    )
    first, last = (f"{text}+05:30" for text in before)
    total = site.buckets(CUSTOMER, start=first, end=last)["total"]
    expect(tab.locator("#stat-change")).to_contain_text(
        f"before {total}" if total else "none before"
    )
    assert len(tab.asked("/buckets?")) == 2
    in_utc = [datetime.fromisoformat(text).astimezone(UTC) for text in (first, last)]
    asked = "start={:%Y-%m-%dT%H:%M:%SZ}&end={:%Y-%m-%dT%H:%M:%SZ}".format(*in_utc)
    assert [asked in text for text in tab.questions()[:2]] == [False, True]
    assert sum(int(row[-1]) for row in tab.rows()) == total


def test_where_there_is_no_such_period_before_the_chart_says_so(tab: Tab) -> None:
    tab.open(
        customer=CUSTOMER, start="2021-03-30", end="2021-03-31", bars="month", compare="previous"
    )
    expect(tab.locator("#chart-note")).to_contain_text("There is no such period before.")
    assert len(tab.asked("/buckets?")) == 1


def test_hours_stay_those_of_utc_and_a_line_says_so(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, start="2021-03-05", end="2021-03-06", timezone=KOLKATA)
    expect(tab.locator("#chart-note")).to_contain_text(
        "Events by hour of UTC: only days, weeks and months are those of Asia/Kolkata."
    )
    rows = [row[0].replace("\n", " ") for row in tab.rows()]
    assert (rows[0], rows[1], rows[-1], len(rows)) == (
        "4 Mar 2021, 18:00 partial",
        "4 Mar 2021, 19:00",
        "5 Mar 2021, 18:00 partial",
        25,
    )
    assert tab.text("#table-head th >> nth=0") == "Hour from (UTC)"
    assert tab.text("#result-window") == "Fri, 5 Mar 2021, Asia/Kolkata"


def test_the_zone_is_chosen_and_stands_in_the_address(new_tab: Open, site: Site) -> None:
    tab = new_tab(site, zone="Europe/Berlin")
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#result-window")).to_have_text("11 Mar 2021 – 9 Apr 2021, UTC")
    zone = tab.page.get_by_label("Time zone", exact=True)
    zone.select_option("Europe/Berlin (yours)")
    # The newest event is of 01:05 on the next day there.
    expect(tab.locator("#result-window")).to_have_text("12 Mar 2021 – 10 Apr 2021, Europe/Berlin")
    assert "timezone=Europe%2FBerlin" in tab.page.url
    name = tab.page.get_by_label("Name of the zone")
    zone.select_option("Another…")
    name.fill("Mars/Olympus")
    name.press("Enter")
    expect(tab.locator("#zone-error")).to_have_text(
        "No zone has this name. Write it like Europe/Berlin."
    )
    name.fill("america/new_york")
    name.press("Enter")
    expect(tab.locator("#result-window")).to_have_text("11 Mar 2021 – 9 Apr 2021, America/New_York")
    expect(name).to_be_hidden()
    expect(zone).to_have_value("America/New_York")
    other = new_tab(site, zone=KOLKATA)
    other.page.goto(tab.page.url)
    expect(other.locator("#result-window")).to_have_text(
        "11 Mar 2021 – 9 Apr 2021, America/New_York"
    )
    assert other.rows() == tab.rows()
    tab.page.get_by_label("Dates", exact=True).check()
    expect(tab.page.get_by_label("From, America/New_York")).to_have_value("2021-03-11T00:00")
    expect(tab.page.get_by_label("To, America/New_York")).to_have_value("2021-04-10T00:00")
    tab.page.go_back()
    tab.page.go_back()
    expect(zone).to_have_value("Europe/Berlin")


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        ("2021-03-04T23:00:00Z", "2021-03-05T22:30:00.000000Z", ("2021-03-05T00:00", "T23:30")),
        (
            "2021-03-05T08:00:00.250000+09:00",
            "2021-03-05T22:30:15Z",
            ("T00:00:00.25", "T23:30:15"),
        ),
    ],
)
def test_dates_may_stand_in_a_link_as_the_api_writes_instants(
    tab: Tab, site: Site, start: str, end: str, shown: tuple[str, str]
) -> None:
    tab.open(customer=CUSTOMER, start=start, end=end, timezone="Europe/Berlin")
    expect(tab.locator("#stat-total")).to_have_text(
        str(site.buckets(CUSTOMER, start=start, end=end)["total"])
    )
    for name, text in zip(("start", "end"), shown, strict=True):
        assert tab.locator(f"#{name}").input_value().endswith(text)


def test_an_instant_that_the_clocks_show_twice_is_not_taken_for_the_other(tab: Tab) -> None:
    tab.open(
        customer=CUSTOMER,
        start="2020-10-25T01:30:00Z",  # 02:30, as an hour before
        end="2021-03-05T00:00:00Z",
        timezone="Europe/Berlin",
    )
    expect(tab.locator("#dates-error")).to_have_text("Give both dates.")


def test_a_zone_that_is_none_is_as_if_it_were_not_there(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, timezone="+05:30")
    expect(tab.locator("#result-window")).to_have_text("11 Mar 2021 – 9 Apr 2021, UTC")


def test_what_is_taken_away_is_by_the_same_windows(tab: Tab) -> None:
    tab.open(
        customer=CUSTOMER,
        start="2021-03-03",
        end="2021-03-06",
        timezone=KOLKATA,
        bars="day",
        view="total",
    )
    expect(tab.locator("#stat-total")).to_have_text("75")
    with tab.page.expect_download() as waiting:
        tab.page.get_by_role("button", name="CSV", exact=True).click()
    assert waiting.value.suggested_filename == "acme_sons_2021-03-03_2021-03-06.csv"
    assert waiting.value.path().read_text().splitlines()[1:] == [
        ",".join(
            [*(f"2021-03-{each:02}T00:00:00.000000+05:30" for each in (day, day + 1)), "25,false"]
        )
        for day in (3, 4, 5)
    ]


@pytest.mark.parametrize(
    ("zone", "around"),
    [
        ("Europe/Berlin", datetime(2021, 3, 28, tzinfo=UTC)),  # a day of 23 hours
        (KOLKATA, datetime(2021, 3, 1, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(1986, 1, 1, tzinfo=UTC)),  # from half an hour to three quarters
        ("America/Sao_Paulo", datetime(2018, 11, 4, tzinfo=UTC)),  # midnight is left out
        ("America/Havana", datetime(2018, 11, 4, tzinfo=UTC)),  # midnight comes twice
        ("Australia/Lord_Howe", datetime(2018, 4, 1, tzinfo=UTC)),  # set by half an hour
        ("Pacific/Apia", datetime(2011, 12, 31, tzinfo=UTC)),  # after a day that is left out
        ("America/New_York", datetime(1883, 11, 18, tzinfo=UTC)),  # from an offset with seconds
    ],
)
def test_days_begin_where_the_service_lets_them_begin(
    tab: Tab, zone: str, around: datetime
) -> None:
    tab.open()
    days = calendars.periods(
        Calendar(Unit.DAY, ZoneInfo(zone)),
        Window(around - timedelta(days=4), around + timedelta(days=4)),
    )
    begins = [day.start for day in days]
    dates = [begin.astimezone(ZoneInfo(zone)).date().isoformat() for begin in begins]
    found = tab.page.evaluate(_BEGIN_OF_DAYS, [zone, dates])
    assert found == [
        [round(begin.timestamp() * 1_000), date] for begin, date in zip(begins, dates, strict=True)
    ]


def test_days_that_the_api_gives_in_several_pages_are_all_drawn(tab: Tab, site: Site) -> None:
    # Midnight there cuts the hour of each of these; a page counts at most four hundred such hours.
    days = 450
    at = FIRST + timedelta(hours=18, minutes=10)
    event = {"customer_id": "nightly", "event_type": "e"}
    site.post(
        [
            {
                **event,
                "transaction_id": f"{day}",
                "timestamp": (at + timedelta(days=day)).isoformat(),
            }
            for day in range(days)
        ]
    )
    tab.open(customer="nightly", range="all", timezone=KOLKATA, bars="day")
    expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", str(days))
    expect(tab.locator("#stat-total")).to_have_text(str(days))
    assert len(tab.asked("/buckets?")) == 2
    while tab.locator("#table-more").is_visible():
        tab.locator("#table-more").click()
    assert numbers(tab) == [(False, 1)] * days


def test_a_range_with_too_many_hours_is_drawn_by_day_and_says_so(tab: Tab, site: Site) -> None:
    event = {"customer_id": "old", "event_type": "e", "transaction_id": "1"}
    site.post(
        [{**event, "timestamp": at.isoformat()} for at in (FIRST, FIRST - timedelta(days=500))]
    )
    tab.open(customer="old", range="all", bars="hour")
    expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", "501")
    expect(tab.locator("#chart-note")).to_contain_text("This range has too many hours to draw.")


def test_a_customer_of_two_thousand_years_has_the_months_with_events(tab: Tab, site: Site) -> None:
    event = {"customer_id": "ancient", "event_type": "e", "transaction_id": "1"}
    site.post(
        [{**event, "timestamp": at} for at in ("0001-01-01T00:00:00Z", "2021-03-01T00:00:00Z")]
    )
    tab.open(customer="ancient", range="all")
    expect(tab.locator("#chart-note")).to_contain_text("Only months with events are drawn.")
    assert [row[0].replace("\n", " ") for row in tab.rows()] == ["Jan 1", "Mar 2021 partial"]
    tab.open(customer="ancient", start="0001-01-01", end="2021-01-01")
    expect(tab.locator("#dates-error")).to_have_text("At most 10,000 months can be drawn.")
