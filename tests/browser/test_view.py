"""What the page shows of the counts, and the address that names it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import CUSTOMER, FIRST, TYPES, Open, Site, Tab


def total_of(tab: Tab) -> int:
    return int(tab.text("#stat-total").replace(",", ""))


def sum_of_rows(tab: Tab) -> int:
    while tab.locator("#table-more").is_visible():
        tab.locator("#table-more").click()
    return sum(int(row[-1].replace(",", "")) for row in tab.rows())


def test_the_first_view_is_the_thirty_days_that_end_with_the_newest_event(
    new_tab: Open, site: Site
) -> None:
    tab = new_tab(site, zone="Asia/Kolkata")  # wherever the reader is, days are those of UTC
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#result-window")).to_have_text("11 Mar 2021 – 9 Apr 2021, UTC")
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)
    assert tab.text("#stat-total") == "750"
    expect(tab.locator("#stat-busiest-when")).to_have_text("11 Mar 2021, 12:00–13:00 UTC")
    assert tab.text("#stat-busiest") == "2"
    assert tab.rows()[0] == ["11 Mar 2021", "9", "8", "8", "25"]
    assert (len(tab.rows()), sum_of_rows(tab)) == (30, 750)


def test_the_view_of_a_month_asks_for_buckets_once(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#stat-total")).to_have_text("750")
    assert len(tab.asked("/buckets?")) == 1


@pytest.mark.parametrize(
    ("label", "total", "window"),
    [
        ("24 h", 25, "Fri, 9 Apr 2021, UTC"),
        ("7 days", 175, "3 Apr 2021 – 9 Apr 2021, UTC"),
        ("All", 1000, "1 Mar 2021 – 9 Apr 2021, UTC"),
    ],
)
def test_each_range_ends_with_the_newest_event(
    tab: Tab, label: str, total: int, window: str
) -> None:
    tab.open(customer=CUSTOMER)
    tab.page.get_by_label(label, exact=True).check()
    expect(tab.locator("#result-window")).to_have_text(window)
    assert (total_of(tab), sum_of_rows(tab)) == (total, total)


def test_own_dates_cut_hours_which_are_hatched_and_called_partial(tab: Tab, site: Site) -> None:
    tab.open(customer=CUSTOMER, range="24h")
    tab.page.get_by_label("Dates", exact=True).check()
    tab.page.get_by_label("From, UTC").fill("2021-03-05T11:30")
    tab.page.get_by_label("To, UTC").fill("2021-03-05T14:20")
    tab.page.get_by_role("button", name="Show", exact=True).click()
    expect(tab.locator("#result-window")).to_have_text("5 Mar 2021, 11:30 – 5 Mar 2021, 14:20, UTC")
    rows = [[row[0].replace("\n", " "), row[-1]] for row in tab.rows()]
    assert rows == [
        ["5 Mar 2021, 11:00 partial", "0"],
        ["5 Mar 2021, 12:00", "2"],
        ["5 Mar 2021, 13:00", "1"],
        ["5 Mar 2021, 14:00 partial", "1"],
    ]
    assert tab.locator("#plot path.hatched").count() == 1
    answer = site.buckets(CUSTOMER, start="2021-03-05T11:30", end="2021-03-05T14:20")
    assert total_of(tab) == answer["total"] == 4
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "still")


def test_dates_that_are_no_range_are_refused_beside_the_fields(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="own", start="2021-03-05T10:00", end="2021-03-05T09:00")
    expect(tab.locator("#dates-error")).to_have_text("The end must be later than the start.")


@pytest.mark.parametrize(
    ("bars", "rows", "first"),
    [("hour", 960, "1 Mar 2021, 00:00"), ("day", 40, "1 Mar 2021"), ("week", 6, "1 Mar 2021")],
)
def test_hours_days_and_weeks_have_the_same_total(
    tab: Tab, bars: str, rows: int, first: str
) -> None:
    tab.open(customer=CUSTOMER, range="all")
    tab.page.get_by_label("Bars").select_option(bars)
    expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", str(rows))
    assert (sum_of_rows(tab), len(tab.rows()), tab.rows()[0][0]) == (1_000, rows, first)
    # The last week goes on after the range.
    assert tab.locator("#plot path.hatched").count() == (3 if bars == "week" else 0)


def test_types_can_be_chosen_and_shown_together(tab: Tab, site: Site) -> None:
    tab.open(customer=CUSTOMER, range="all")
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(3)
    for name in TYPES[:2]:
        tab.page.get_by_role("button", name=name).click()
    answer = [
        site.buckets(CUSTOMER, start="2021-03-01", end="2021-04-10", event_type=name)["total"]
        for name in TYPES[:2]
    ]
    expect(tab.locator("#stat-total")).to_have_text(str(sum(answer)))
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(2)
    tab.page.get_by_label("Total", exact=True).check()
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(1)
    assert total_of(tab) == sum_of_rows(tab) == sum(answer)
    tab.page.get_by_role("button", name="All types").click()
    expect(tab.locator("#stat-total")).to_have_text("1,000")


def test_the_period_before_is_drawn_and_counted(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="7d")
    tab.page.get_by_label("Compare with the period before").check()
    expect(tab.locator("#stat-change")).to_have_text("±0 %, before 175")
    assert tab.locator("#plot path.previous").count() == 1
    assert tab.rows()[12][-2:] == ["2", "2"]


def test_the_address_names_the_whole_view_and_going_back_brings_the_one_before(
    tab: Tab, new_tab: Open, site: Site
) -> None:
    tab.open()
    tab.customer.fill("acme")
    tab.page.get_by_role("option", name=CUSTOMER).click()
    tab.page.get_by_label("All", exact=True).check()
    expect(tab.locator("#stat-total")).to_have_text("1,000")
    tab.page.get_by_role("button", name="sign in").click()
    tab.page.get_by_label("Bars").select_option("week")
    tab.page.get_by_label("Compare with the period before").check()
    expect(tab.locator("#stat-change")).to_have_text("none before")
    link = tab.page.url
    other = new_tab(site)
    other.page.goto(link)
    expect(other.locator("#stat-change")).to_have_text("none before")
    names = (
        "#result-title",
        "#result-window",
        "#stat-total",
        "#stat-mean",
        "#types",
        "#chart-note",
    )
    assert [other.text(name) for name in names] == [tab.text(name) for name in names]
    assert other.rows() == tab.rows()
    assert other.page.url == link
    tab.page.go_back()
    tab.page.go_back()
    expect(tab.page.get_by_label("Bars")).to_have_value("auto")
    expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", "40")


def test_customers_are_offered_as_one_types_and_taken_with_the_keyboard(tab: Tab) -> None:
    tab.open()
    field = tab.customer
    field.press_sequentially("acme/")
    expect(tab.locator("#customers li")).to_have_count(1)
    field.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "customer-0")
    field.press("Enter")
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)


def test_a_customer_that_is_marked_stays_so_where_a_later_answer_has_it_too(tab: Tab) -> None:
    tab.open()
    expect(tab.locator("#panel-title")).to_have_text("Choose a customer")
    held: list[Route] = []
    tab.page.route("**/events/customers?prefix=acme*", lambda route: held.append(route))
    tab.customer.focus()
    option = tab.locator("#customers li").filter(has_text=CUSTOMER)
    expect(option).to_be_visible()
    with tab.page.expect_request("**/events/customers?prefix=acme*"):
        tab.customer.press_sequentially("acme/")
    for _ in range(tab.locator("#customers li").count()):
        if option.get_attribute("aria-selected") == "false":
            tab.customer.press("ArrowDown")
    with tab.page.expect_response("**/events/customers?prefix=acme*"):
        held[-1].continue_()
    expect(tab.locator("#customers li")).to_have_count(1)
    expect(option).to_have_attribute("aria-selected", "true")
    tab.customer.press("Enter")
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)


def test_what_is_typed_and_not_taken_does_not_stay_in_the_field(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)
    tab.customer.press_sequentially("nobody begins so")
    option = tab.page.get_by_role("option", name="No id begins with this")
    expect(option).to_have_attribute("aria-disabled", "true")
    tab.customer.press("ArrowDown")
    tab.customer.press("Tab")
    expect(option).to_be_hidden()
    expect(tab.customer).to_have_value(CUSTOMER)
    tab.customer.fill("Acme")
    tab.customer.press("Enter")
    expect(tab.locator("#panel-title")).to_have_text("No events of this customer")


def test_the_keyboard_goes_from_bar_to_bar_and_hears_the_exact_count(tab: Tab) -> None:
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


def test_the_pointer_shows_the_exact_count_of_a_bar(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#stat-total")).to_have_text("750")
    box = tab.locator("#plot").bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 60)
    expect(tab.locator("#tip .tip-time")).to_have_text("Fri, 9 Apr 2021 UTC")
    expect(tab.locator("#tip .tip-total")).to_have_text("25events")


def test_thousands_of_bars_are_few_elements_and_stay_quick(tab: Tab, site: Site) -> None:
    site.post(
        [
            {
                "customer_id": "long",
                "event_type": "e",
                "transaction_id": f"{day}",
                "timestamp": (FIRST - timedelta(days=day)).isoformat(),
            }
            for day in range(0, 400, 2)
        ]
    )
    tab.open(customer="long", range="all", bars="hour")
    plot = tab.page.get_by_role("slider")
    expect(plot).to_have_attribute("aria-valuemax", str(399 * 24))
    assert tab.locator("#plot *").count() < 100
    begin = time.monotonic()
    for _ in range(20):
        plot.press("ArrowLeft")
    assert time.monotonic() - begin < 3


def test_a_new_event_appears_by_itself(tab: Tab, site: Site) -> None:
    event = {"customer_id": "live", "event_type": "e", "timestamp": "2021-03-01T05:00:00Z"}
    site.post([{**event, "transaction_id": "1"}])
    tab.open(customer="live", range="24h")
    expect(tab.locator("#stat-total")).to_have_text("1")
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "live")
    before = tab.text("#freshness")
    site.post([{**event, "transaction_id": "2", "timestamp": "2021-03-01T06:30:00Z"}])
    expect(tab.locator("#stat-total")).to_have_text("2", timeout=12_000)
    assert tab.rows()[-1] == ["1 Mar 2021, 06:00", "1", "1"]
    assert tab.text("#freshness").startswith("Live, last change ")
    assert tab.text("#freshness") >= before


def test_rows_that_were_asked_for_stay_while_the_view_is_live(tab: Tab, site: Site) -> None:
    event = {"customer_id": "rows", "event_type": "e"}
    site.post([{**event, "transaction_id": "1", "timestamp": "2021-03-30T05:00:00Z"}])
    tab.open(customer="rows", bars="hour")
    tab.locator("#table-more").click()
    expect(tab.locator("#table-body tr")).to_have_count(400)
    table = tab.page.get_by_role("region", name="Rows")
    table.evaluate("table => table.scrollTop = 9000")
    site.post([{**event, "transaction_id": "2", "timestamp": "2021-03-30T06:30:00Z"}])
    expect(tab.locator("#stat-total")).to_have_text("2", timeout=12_000)
    assert tab.locator("#table-body tr").count() == 400
    assert table.evaluate("table => table.scrollTop") == 9000
    tab.page.get_by_label("Bars").select_option("day")
    expect(tab.locator("#table-body tr")).to_have_count(30)
    tab.page.get_by_label("Bars").select_option("hour")
    expect(tab.locator("#table-body tr")).to_have_count(200)


def test_a_look_in_the_middle_of_a_choice_shows_what_was_chosen(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    held: list[Route] = []
    tab.page.route("**/buckets?*", lambda route: held.append(route))
    with tab.page.expect_request("**/buckets?*"):
        tab.page.get_by_label("Bars").select_option("week")
    with tab.page.expect_request("**/buckets?*"):
        tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    tab.page.wait_for_timeout(200)
    held[-1].continue_()
    expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", "5")
