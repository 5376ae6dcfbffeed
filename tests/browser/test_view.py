"""What the page shows of the counts, and the URL that holds the view."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CUSTOMER, FIRST, TYPES, Open, Site, Tab


def sum_of_rows(tab: Tab) -> int:
    return sum_of(tab.all_rows())


def sum_of(rows: list[list[str]]) -> int:
    return sum(int(row[-1].replace(",", "")) for row in rows)


def test_the_first_view_is_the_last_thirty_days_with_events(new_tab: Open, site: Site) -> None:
    tab = new_tab(site, zone="Asia/Kolkata")  # days are UTC, wherever the reader is
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#result-range")).to_have_text("11 Mar 2021 – 9 Apr 2021, UTC")
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)
    assert tab.text("#stat-total") == "750"
    expect(tab.locator("#stat-busiest-when")).to_have_text("11 Mar 2021, 12:00–13:00 UTC")
    assert tab.text("#stat-busiest") == "2"
    assert tab.rows()[0] == ["11 Mar 2021", "9", "8", "8", "25"]
    assert (len(tab.rows()), sum_of_rows(tab)) == (30, 750)


def test_each_preset_range_ends_with_the_newest_event(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    for label, total, text in (
        ("24 h", 25, "Fri, 9 Apr 2021, UTC"),
        ("7 days", 175, "3 Apr 2021 – 9 Apr 2021, UTC"),
        ("All", 1000, "1 Mar 2021 – 9 Apr 2021, UTC"),
    ):
        tab.page.get_by_label(label, exact=True).check()
        expect(tab.locator("#result-range")).to_have_text(text)
        assert (tab.total(), sum_of_rows(tab)) == (total, total), label


def test_hours_that_custom_dates_cut_are_hatched_and_partial(tab: Tab, site: Site) -> None:
    tab.open(customer=CUSTOMER, range="24h")
    expect(tab.locator("#stat-total")).to_have_text("25")
    tab.page.get_by_label("Custom", exact=True).check()
    tab.page.get_by_label("Start (UTC)").fill("2021-03-05T11:30")
    tab.page.get_by_label("End, exclusive (UTC)").fill("2021-03-05T14:20")
    tab.page.get_by_role("button", name="Apply dates").click()
    expect(tab.locator("#result-range")).to_have_text("5 Mar 2021, 11:30 – 5 Mar 2021, 14:20, UTC")
    assert [[row[0], row[-1]] for row in tab.rows()] == [
        ["5 Mar 2021, 11:00 partial", "0"],
        ["5 Mar 2021, 12:00", "2"],
        ["5 Mar 2021, 13:00", "1"],
        ["5 Mar 2021, 14:00 partial", "1"],
    ]
    assert tab.locator("#plot path.hatched").count() == 1
    answer = site.buckets(CUSTOMER, start="2021-03-05T11:30", end="2021-03-05T14:20")
    assert tab.total() == answer["total"] == 4
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "still")


def test_marks_in_the_link_are_drawn_listed_and_kept(tab: Tab) -> None:
    marks = [
        "2021-03-05T12:00:00Z api-call: 2 events, expected 0 to 1 <b>for</b> a Friday",
        "2021-03-06T13:00:00Z too few 😀",
        "2021-02-01T00:00:00Z out of the range",
        "soon no instant",
        "2021-13-06T13:00:00Z no month",
    ]
    tab.open(customer=CUSTOMER, start="2021-03-05", end="2021-03-07", mark=marks, bars="hour")
    listed = [
        "5 Mar 2021, 12:00:00 UTC: api-call: 2 events, expected 0 to 1 <b>for</b> a Friday",
        "6 Mar 2021, 13:00:00 UTC: too few 😀",
    ]
    expect(tab.locator("#marks li")).to_have_text(listed)
    (path,) = tab.locator("#plot path.mark").all()
    assert (path.get_attribute("d") or "").count("M") == 2
    plot = tab.locator("#plot")
    plot.press("Home")
    for _ in range(12):
        plot.press("ArrowRight")
    expect(tab.locator("#tip .tip-note")).to_have_text(f"Marked: {listed[0].partition('C: ')[2]}")
    expect(plot).to_have_attribute("aria-valuetext", re.compile("marked: api-call: 2 events"))
    # They stay with other bars, and go with another customer.
    tab.page.get_by_label("Total", exact=True).check()
    expect(tab.locator("#marks li")).to_have_text(listed)
    assert "mark=2021-03-05" in tab.page.url
    tab.page.get_by_label("Customer", exact=True).fill("a")
    tab.page.get_by_label("Customer", exact=True).press("Enter")
    expect(tab.locator("#panel, #result-title").locator("visible=true").first).to_contain_text("a")
    expect(tab.locator("#marks")).to_be_hidden()
    assert "mark=" not in tab.page.url


def test_an_end_before_the_start_is_refused_in_the_form(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="own", start="2021-03-05T10:00", end="2021-03-05T09:00")
    expect(tab.locator("#dates-error")).to_have_text("The end must be later than the start.")


def test_all_intervals_have_the_same_total(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="all")
    for interval, rows, first in (
        ("hour", 960, "1 Mar 2021, 00:00"),
        ("day", 40, "1 Mar 2021"),
        ("week", 6, "1 Mar 2021"),
    ):
        tab.page.get_by_label("Interval").select_option(interval)
        expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", str(rows))
        shown = tab.all_rows()
        assert (sum_of(shown), len(shown), shown[0][0]) == (1_000, rows, first)
        # The last week ends after the range.
        assert tab.locator("#plot path.hatched").count() == (3 if interval == "week" else 0)


def test_types_are_chosen_and_added_up(tab: Tab, site: Site) -> None:
    tab.open(customer=CUSTOMER, range="all")
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(3)
    for name in TYPES[:2]:
        tab.page.get_by_role("button", name=name).click()
    total = sum(
        site.buckets(CUSTOMER, start="2021-03-01", end="2021-04-10", event_type=name)["total"]
        for name in TYPES[:2]
    )
    expect(tab.locator("#stat-total")).to_have_text(str(total))
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(2)
    tab.page.get_by_label("Total", exact=True).check()
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(1)
    assert tab.total() == sum_of_rows(tab) == total
    tab.page.get_by_role("button", name="All types").click()
    expect(tab.locator("#stat-total")).to_have_text("1,000")


def test_the_previous_period_is_drawn_and_counted(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="7d")
    tab.page.get_by_label("Compare with previous period").check()
    expect(tab.locator("#stat-change")).to_have_text("±0% from 175 in the previous period")
    assert tab.locator("#plot path.previous").count() == 1
    assert tab.rows()[12][-2:] == ["2", "2"]


def test_the_url_holds_the_view_and_back_restores_it(tab: Tab, new_tab: Open, site: Site) -> None:
    tab.open()
    tab.customer.fill("acme")
    tab.page.get_by_role("option", name=CUSTOMER).click()
    tab.page.get_by_label("All", exact=True).check()
    expect(tab.locator("#stat-total")).to_have_text("1,000")
    tab.page.get_by_role("button", name="sign in").click()
    tab.page.get_by_label("Interval").select_option("week")
    tab.page.get_by_label("Compare with previous period").check()
    expect(tab.locator("#stat-change")).to_have_text("none in the previous period")
    other = new_tab(site)
    other.page.goto(tab.page.url)
    expect(other.locator("#stat-change")).to_have_text("none in the previous period")
    expect(other.locator("#types .chip")).to_have_count(3)
    names = ("result-title", "result-range", "stat-total", "stat-mean", "types", "chart-note")
    assert [other.text(f"#{name}") for name in names] == [tab.text(f"#{name}") for name in names]
    assert other.rows() == tab.rows()
    assert other.page.url == tab.page.url
    tab.page.go_back()
    tab.page.go_back()
    expect(tab.page.get_by_label("Interval")).to_have_value("auto")
    expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", "40")


# --- the customer field ---------------------------------------------------------------------------


def test_a_suggested_customer_is_chosen_with_the_keyboard(tab: Tab) -> None:
    tab.open()
    tab.customer.press_sequentially("acme/")
    expect(tab.locator("#customers li")).to_have_count(1)
    tab.customer.press("ArrowDown")
    expect(tab.customer).to_have_attribute("aria-activedescendant", "customer-0")
    tab.customer.press("Enter")
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)


def test_a_marked_customer_stays_marked_in_later_suggestions(tab: Tab) -> None:
    tab.open()
    expect(tab.locator("#overview-title")).to_be_visible()
    later = tab.hold("**/events/customers?prefix=acme*")
    tab.customer.focus()
    option = tab.locator("#customers li").filter(has_text=CUSTOMER)
    expect(option).to_be_visible()
    tab.customer.press_sequentially("acme/")
    later.wait()
    for _ in range(tab.locator("#customers li").count()):
        if option.get_attribute("aria-selected") == "false":
            tab.customer.press("ArrowDown")
    later.release_last()
    expect(tab.locator("#customers li")).to_have_count(1)
    expect(option).to_have_attribute("aria-selected", "true")
    tab.customer.press("Enter")
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)


def test_typed_text_stays_only_after_enter(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)
    tab.customer.press_sequentially("no such prefix")
    option = tab.page.get_by_role("option", name="No customer ID starts with this")
    expect(option).to_have_attribute("aria-disabled", "true")
    tab.customer.press("ArrowDown")
    tab.customer.press("Tab")
    expect(option).to_be_hidden()
    expect(tab.customer).to_have_value(CUSTOMER)
    tab.customer.fill("Acme")
    tab.customer.press("Enter")
    expect(tab.locator("#panel-title")).to_have_text("No events for this customer")


# --- the chart ------------------------------------------------------------------------------------


def test_the_keyboard_moves_between_bars(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="24h")
    plot = tab.page.get_by_role("slider")
    plot.press("Home")
    expect(plot).to_have_attribute("aria-valuenow", "1")
    for _ in range(12):
        plot.press("ArrowRight")
    expect(plot).to_have_attribute(
        "aria-valuetext",
        "Fri, 9 Apr 2021, 12:00–13:00 UTC: 2 events, page_view 2",
    )
    expect(tab.locator("#tip .tip-total")).to_have_text("2events")
    plot.press("End")
    expect(plot).to_have_attribute("aria-valuenow", "24")
    plot.press("Escape")
    expect(tab.locator("#tip")).to_be_hidden()


def test_the_pointer_shows_the_count_of_a_bar(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#stat-total")).to_have_text("750")
    box = tab.locator("#plot").bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 60)
    expect(tab.locator("#tip .tip-time")).to_have_text("Fri, 9 Apr 2021 UTC")
    expect(tab.locator("#tip .tip-total")).to_have_text("25events")


def test_thousands_of_bars_are_few_elements(tab: Tab, site: Site) -> None:
    days = (FIRST - timedelta(days=day) for day in range(0, 400, 2))
    site.post_at("long", *(day.isoformat() for day in days))
    tab.open(customer="long", range="all", bars="hour")
    plot = tab.page.get_by_role("slider")
    expect(plot).to_have_attribute("aria-valuemax", str(399 * 24))
    assert tab.locator("#plot *").count() < 100
    plot.press("Home")
    plot.press("ArrowRight")
    expect(plot).to_have_attribute("aria-valuenow", "2")


def test_one_event_next_to_a_thousand_is_visible(tab: Tab, site: Site) -> None:
    site.post_at("uneven", *(f"2021-03-01T10:00:00.{n:03}Z" for n in range(999)), event_type="many")
    site.post_at("uneven", "2021-03-01T12:00:00Z", event_type="one")
    tab.open(customer="uneven", range="24h")
    expect(tab.locator("#stat-total")).to_have_text("1,000")
    many, one = tab.locator("#plot path[class^=tone]").evaluate_all(
        "layers => layers.map(layer => layer.getBBox().height)"
    )
    assert many > 100
    assert one == pytest.approx(2, abs=0.1)
