"""The page queries what it shows, and no more."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import CUSTOMER, Tab

MONTH = {"start": "2021-03-01", "end": "2021-04-01"}
_IN_MARCH = "start=2021-03-01T00:00:00Z&end=2021-04-01T00:00:00Z"
_IN_THIRTY_DAYS = "start=2021-03-11T00:00:00Z&end=2021-04-10T00:00:00Z"
_NEWEST = "events?order=newest&limit=20"
_BY_TYPE = "group_by=event_type&fill=zero&limit=10000"
_TONES = "paths => paths.map(path => path.getAttribute('class'))"


def test_custom_dates_take_one_query_before_the_chart(tab: Tab) -> None:
    buckets = tab.hold("**/buckets?*")
    tab.open(customer=CUSTOMER, **MONTH)
    expect(tab.locator("#loading")).to_be_visible()
    buckets.wait()
    query = f"buckets?{_IN_MARCH}&window=day&{_BY_TYPE}"
    assert tab.queries() == [query]
    details = [tab.hold("**/summary?*"), tab.hold("**/events?*")]
    buckets.release()
    # The chart does not wait for the details.
    expect(tab.locator("#plot path")).to_have_count(3)
    expect(tab.locator("#stat-total")).to_have_text("775")
    expect(tab.locator("#types .chip")).to_have_count(3)
    assert tab.text("#stat-busiest") == "–"
    for held in details:
        held.release()
    expect(tab.locator("#stat-busiest-when")).to_have_text("1 Mar 2021, 12:00–13:00 UTC")
    assert sorted(tab.queries()) == [query, _NEWEST, f"summary?{_IN_MARCH}"]


def test_a_preset_range_looks_up_the_newest_event_once(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    assert tab.queries() == [
        _NEWEST,
        f"buckets?{_IN_THIRTY_DAYS}&window=day&{_BY_TYPE}",
        f"summary?{_IN_THIRTY_DAYS}",
    ]


def test_the_range_all_queries_the_summary_once(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="all", bars="week")
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    expect(tab.locator("#stat-total")).to_have_text("1,000")
    all_days = "start=2021-03-01T00:00:00Z&end=2021-04-10T00:00:00Z"
    assert tab.queries() == [_NEWEST, "summary", f"buckets?{all_days}&window=week&{_BY_TYPE}"]


def test_hours_by_type_need_no_summary(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="24h")
    expect(tab.locator("#stat-busiest-when")).to_have_text("9 Apr 2021, 12:00–13:00 UTC")
    expect(tab.locator("#types .chip")).to_have_count(3)
    day = "start=2021-04-09T00:00:00Z&end=2021-04-10T00:00:00Z"
    assert tab.queries() == [_NEWEST, f"buckets?{day}&{_BY_TYPE}"]


def test_the_total_is_not_queried_by_type(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, view="total", **MONTH)
    expect(tab.locator("#types .chip .total")).to_have_text(["259", "258", "258"])
    query = f"buckets?{_IN_MARCH}&window=day&fill=zero&limit=10000"
    assert sorted(tab.queries()) == [query, _NEWEST, f"summary?{_IN_MARCH}"]
    tab.page.get_by_label("By type", exact=True).check()
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(3)
    assert tab.queries()[3:] == [f"buckets?{_IN_MARCH}&window=day&{_BY_TYPE}"]
    tab.page.get_by_label("Total", exact=True).check()
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(1)
    assert len(tab.queries()) == 4


def test_chosen_types_take_one_query_and_keep_their_colors(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, **MONTH)
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    before = tab.locator("#plot path").evaluate_all(_TONES)
    tab.page.get_by_role("button", name="sign in").click()
    expect(tab.locator("#stat-total")).to_have_text("258")
    expect(tab.locator("#stat-busiest-name")).to_have_text("Busiest day")
    after = tab.locator("#plot path").evaluate_all(_TONES)
    assert (before, after) == (["tone-0", "tone-1", "tone-2"], ["tone-2"])
    expect(tab.locator("#types .chip .total")).to_have_text(["259", "258", "258"])
    assert tab.queries()[3:] == [f"buckets?{_IN_MARCH}&window=day&event_type=sign+in&{_BY_TYPE}"]


def test_types_chosen_during_a_query_all_count(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, **MONTH)
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    buckets = tab.hold("**/buckets?*")
    tab.page.get_by_role("button", name="sign in").click()
    tab.page.get_by_role("button", name="page_view").click()
    expect(tab.locator("#types [aria-pressed=true] .name")).to_have_text(["page_view", "sign in"])
    buckets.wait(2)
    buckets.release_last()
    expect(tab.locator("#stat-total")).to_have_text("517")
    expect(tab.locator("#plot path")).to_have_count(2)


def test_a_link_with_chosen_types_still_lists_all_types(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, event_type="sign in", **MONTH)
    expect(tab.locator("#stat-total")).to_have_text("258")
    expect(tab.locator("#types .chip .total")).to_have_text(["259", "258", "258"])
    expect(tab.locator("#plot path.tone-2")).to_have_count(1)
    assert len(tab.bucket_queries()) == 1


def test_failed_details_leave_the_chart_and_are_retried(tab: Tab) -> None:
    tab.expected = {503}
    problem = {"title": "The store does not answer", "detail": "try later", "errors": []}
    tab.page.route("**/summary?*", lambda route: route.fulfill(status=503, json=problem))
    tab.open(customer=CUSTOMER, **MONTH)
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "problem")
    expect(tab.locator("#stat-total")).to_have_text("775")
    tab.page.unroute("**/summary?*")
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "still")


# --- live updates ---------------------------------------------------------------------------------


def test_a_new_event_appears_without_a_reload(tab: Tab) -> None:
    tab.site.post_at("live", "2021-03-01T05:00:00Z")
    tab.open(customer="live", range="24h")
    expect(tab.locator("#stat-total")).to_have_text("1")
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "live")
    tab.site.post_at("live", "2021-03-01T05:00:00Z", "2021-03-01T06:30:00Z")
    expect(tab.locator("#stat-total")).to_have_text("2")
    assert tab.rows()[-1] == ["1 Mar 2021, 06:00", "1", "1"]
    assert tab.text("#freshness").startswith("Live, last updated ")


def test_live_updates_keep_the_rows_and_the_scroll_position(tab: Tab) -> None:
    tab.site.post_at("rows", "2021-03-30T05:00:00Z")
    tab.open(customer="rows", bars="hour")
    tab.locator("#table-more").click()
    expect(tab.locator("#table-body tr")).to_have_count(400)
    table = tab.page.get_by_role("region", name="Rows")
    table.evaluate("table => table.scrollTop = 9000")
    tab.site.post_at("rows", "2021-03-30T05:00:00Z", "2021-03-30T06:30:00Z")
    tab.poll()
    expect(tab.locator("#stat-total")).to_have_text("2")
    assert tab.locator("#table-body tr").count() == 400
    assert table.evaluate("table => table.scrollTop") == 9000
    tab.page.get_by_label("Interval").select_option("day")
    expect(tab.locator("#table-body tr")).to_have_count(30)
    tab.page.get_by_label("Interval").select_option("hour")
    expect(tab.locator("#table-body tr")).to_have_count(200)


def test_a_poll_during_a_query_shows_the_new_choice(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    buckets = tab.hold("**/buckets?*")
    tab.page.get_by_label("Interval").select_option("week")
    buckets.wait(1)
    tab.poll()
    buckets.wait(2)
    buckets.release_last()
    expect(tab.locator("#plot")).to_have_attribute("aria-valuemax", "5")


def test_a_response_that_is_cut_off_leaves_the_view(tab: Tab) -> None:
    tab.site.post_at("cut off", "2021-03-01T05:00:00Z")
    tab.open(customer="cut off")
    expect(tab.locator("#stat-total")).to_have_text("1")
    tab.page.route("**/buckets?*", lambda route: route.fulfill(body='{"buckets": ['))
    tab.poll()
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "problem")
    assert tab.text("#stat-total") == "1"
    tab.page.reload()
    expect(tab.locator("#panel-title")).to_have_text("Invalid response")
    tab.page.unroute("**/buckets?*")
    tab.page.get_by_role("button", name="Try again").click()
    expect(tab.locator("#stat-total")).to_have_text("1")
