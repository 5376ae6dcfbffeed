"""What the page asks of the API: what it shows, and no more."""

from __future__ import annotations

from playwright.sync_api import Route, expect

from tests.browser.conftest import CUSTOMER, Tab

MONTH = {"start": "2021-03-01", "end": "2021-04-01"}
_IN_MARCH = "start=2021-03-01T00:00:00Z&end=2021-04-01T00:00:00Z"
_IN_THIRTY_DAYS = "start=2021-03-11T00:00:00Z&end=2021-04-10T00:00:00Z"
_NEWEST = "events?order=newest&limit=20"
_BY_TYPE = "group_by=event_type&fill=zero&limit=10000"


def test_a_link_with_dates_asks_for_its_buckets_and_for_nothing_else_before_the_chart(
    tab: Tab,
) -> None:
    held: list[Route] = []
    tab.page.route("**/buckets?*", lambda route: held.append(route))
    tab.open(customer=CUSTOMER, **MONTH)
    expect(tab.locator("#loading")).to_be_visible()
    tab.page.wait_for_timeout(500)
    asked = f"buckets?{_IN_MARCH}&window=day&{_BY_TYPE}"
    assert tab.questions() == [asked]
    others: list[Route] = []
    tab.page.route("**/summary?*", lambda route: others.append(route))
    tab.page.route("**/events?*", lambda route: others.append(route))
    held.pop().continue_()
    # The chart does not wait for the rest.
    expect(tab.locator("#plot path")).to_have_count(3)
    expect(tab.locator("#stat-total")).to_have_text("775")
    expect(tab.locator("#types .chip")).to_have_count(3)
    assert tab.text("#stat-busiest") == "–"
    for route in others:
        route.continue_()
    expect(tab.locator("#stat-busiest-when")).to_have_text("1 Mar 2021, 12:00–13:00 UTC")
    assert sorted(tab.questions()) == [asked, _NEWEST, f"summary?{_IN_MARCH}"]


def test_a_range_that_ends_with_the_newest_event_looks_for_it_once_before(tab: Tab) -> None:
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    assert tab.questions() == [
        _NEWEST,
        f"buckets?{_IN_THIRTY_DAYS}&window=day&{_BY_TYPE}",
        f"summary?{_IN_THIRTY_DAYS}",
    ]


def test_the_range_of_all_is_that_of_the_summary_which_is_not_asked_again(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="all", bars="week")
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    expect(tab.locator("#stat-total")).to_have_text("1,000")
    whole = "start=2021-03-01T00:00:00Z&end=2021-04-10T00:00:00Z"
    assert tab.questions() == [_NEWEST, "summary", f"buckets?{whole}&window=week&{_BY_TYPE}"]


def test_hours_by_type_tell_all_of_themselves(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="24h")
    expect(tab.locator("#stat-busiest-when")).to_have_text("9 Apr 2021, 12:00–13:00 UTC")
    expect(tab.locator("#types .chip")).to_have_count(3)
    day = "start=2021-04-09T00:00:00Z&end=2021-04-10T00:00:00Z"
    assert tab.questions() == [_NEWEST, f"buckets?{day}&{_BY_TYPE}"]


def test_in_total_no_types_are_asked_for_but_those_to_choose_from(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, view="total", **MONTH)
    expect(tab.locator("#types .chip .total")).to_have_text(["259", "258", "258"])
    asked = f"buckets?{_IN_MARCH}&window=day&fill=zero&limit=10000"
    assert sorted(tab.questions()) == [asked, _NEWEST, f"summary?{_IN_MARCH}"]
    tab.page.get_by_label("By type", exact=True).check()
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(3)
    assert tab.questions()[3:] == [f"buckets?{_IN_MARCH}&window=day&{_BY_TYPE}"]
    tab.page.get_by_label("Total", exact=True).check()
    expect(tab.locator("#plot path[class^=tone]")).to_have_count(1)
    assert len(tab.questions()) == 4


def test_chosen_types_are_counted_by_the_api_and_keep_their_tones(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, **MONTH)
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    tones = "each => each.map(path => path.getAttribute('class'))"
    before = tab.locator("#plot path").evaluate_all(tones)
    tab.page.get_by_role("button", name="sign in").click()
    expect(tab.locator("#stat-total")).to_have_text("258")
    expect(tab.locator("#stat-busiest-name")).to_have_text("Busiest day")
    after = tab.locator("#plot path").evaluate_all(tones)
    assert (before, after) == (["tone-0", "tone-1", "tone-2"], ["tone-2"])
    expect(tab.locator("#types .chip .total")).to_have_text(["259", "258", "258"])
    # One more question: where the window is the same, all else is known.
    assert tab.questions()[3:] == [f"buckets?{_IN_MARCH}&window=day&event_type=sign+in&{_BY_TYPE}"]


def test_types_chosen_while_an_answer_is_awaited_are_all_counted(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, **MONTH)
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    held: list[Route] = []
    tab.page.route("**/buckets?*", lambda route: held.append(route))
    tab.page.get_by_role("button", name="sign in").click()
    tab.page.get_by_role("button", name="page_view").click()
    expect(tab.locator("#types [aria-pressed=true] .name")).to_have_text(["page_view", "sign in"])
    held[-1].continue_()
    expect(tab.locator("#stat-total")).to_have_text("517")
    expect(tab.locator("#plot path")).to_have_count(2)


def test_a_link_to_chosen_types_gives_the_list_of_all(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, event_type="sign in", **MONTH)
    expect(tab.locator("#stat-total")).to_have_text("258")
    expect(tab.locator("#types .chip .total")).to_have_text(["259", "258", "258"])
    expect(tab.locator("#plot path.tone-2")).to_have_count(1)
    assert len(tab.asked("/buckets?")) == 1


def test_rest_that_fails_leaves_the_chart_and_is_asked_for_again(tab: Tab) -> None:
    tab.expected = {503}
    problem = {"title": "The store does not answer", "detail": "try later", "errors": []}
    tab.page.route("**/summary?*", lambda route: route.fulfill(status=503, json=problem))
    tab.open(customer=CUSTOMER, **MONTH)
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "trouble")
    expect(tab.locator("#stat-total")).to_have_text("775")
    tab.page.unroute("**/summary?*")
    expect(tab.locator("#stat-busiest")).to_have_text("2", timeout=12_000)
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "still")
