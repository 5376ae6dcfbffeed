"""What the page shows instead of a result: suggestions, errors, and the form for an API key."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Route, expect

from tests.browser.conftest import CUSTOMER, Open, Site, Tab

MARKUP = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "javascript:alert(3)//'",
    "${alert(4)}{{7*7}}",
]


def bucket_of(start: str, count: int) -> dict[str, object]:
    return {"start": f"{start}T00:00:00.000000+00:00", "count": count}


def test_without_a_customer_the_page_shows_the_busiest_customers(tab: Tab) -> None:
    # The newest day with events is 9 April, so the 30 days begin on 11 March.
    months = {"a": [bucket_of("2021-01-01", 9)], CUSTOMER: [bucket_of("2021-04-01", 99)]}
    first = {"a": [bucket_of("2021-03-10", 8), bucket_of("2021-03-11", 7)]}
    second = {
        "a": [bucket_of("2021-03-12", 3)],
        CUSTOMER: [bucket_of("2021-04-09", 1_234)],
        "old": [bucket_of("2021-03-10", 5)],
    }
    asked = []

    def answer(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query, keep_blank_values=True)
        asked.append({name: query.get(name) for name in ("prefix", "window", "start", "cursor")})
        page = months if query["window"] == ["month"] else second if "cursor" in query else first
        customers = [{"customer_id": name, "buckets": buckets} for name, buckets in page.items()]
        route.fulfill(json={"customers": customers, "next": "more" if page is first else None})

    tab.page.route("**/events/buckets?*", answer)
    tab.open()
    expect(tab.locator("#overview-range")).to_have_text("11 Mar 2021 – 9 Apr 2021, UTC")
    expect(tab.locator("#overview-total")).to_have_text("1,244")
    expect(tab.locator("#overview-number")).to_have_text("of 2 customers")
    expect(tab.locator("#overview-customers .name")).to_have_text([CUSTOMER, "a"])
    expect(tab.locator("#overview-customers .total")).to_have_text(["1,234", "10"])
    expect(tab.locator("#overview-chart rect")).to_have_count(30)
    day = ["2021-03-02T00:00:00Z"]
    assert asked == [
        {"prefix": [""], "window": ["month"], "start": ["0001-01-01T00:00:00Z"], "cursor": None},
        {"prefix": [""], "window": ["day"], "start": day, "cursor": None},
        {"prefix": [""], "window": ["day"], "start": day, "cursor": ["more"]},
    ]
    tab.locator("#overview").get_by_role("button", name=CUSTOMER).click()
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)
    expect(tab.locator("#overview")).to_be_hidden()


def test_the_landing_view_counts_as_the_api_does(tab: Tab) -> None:
    tab.open()
    expect(tab.locator("#overview-total")).not_to_have_text("")
    tile = tab.locator("#overview-customers button").first
    name = tile.locator(".name").inner_text()
    assert int(tile.locator(".total").inner_text().replace(",", "")) > 0
    tile.click()
    expect(tab.locator("#result-title")).to_have_text(name)


def test_without_any_events_the_page_asks_for_a_file(tab: Tab) -> None:
    nothing: dict[str, object] = {"customers": [], "next": None}
    for path in ("**/events/customers?*", "**/events/buckets?*"):
        tab.page.route(path, lambda route: route.fulfill(json=nothing))
    tab.open()
    expect(tab.locator("#panel-title")).to_have_text("No events yet")


def test_an_unknown_customer_has_no_events(tab: Tab) -> None:
    tab.open(customer="Acme")
    expect(tab.locator("#panel-title")).to_have_text("No events for this customer")
    expect(tab.locator("#panel-text")).to_contain_text("“Acme”")


def test_a_customer_with_only_voided_events_is_named_so(tab: Tab, site: Site) -> None:
    events = site.post_at("initech", *(f"2021-03-01T00:00:{n:02}Z" for n in range(30)))
    site.void(events, "sent <b>twice</b>")
    states: list[dict[str, str]] = [
        {},
        {"range": "all"},
        {"start": "2021-03-01", "end": "2021-04-01"},
    ]
    for state in states:
        tab.open(customer="initech", **state)
        expect(tab.locator("#panel-title")).to_have_text("All events of this customer are voided")
        expect(tab.locator("#panel-text")).to_contain_text("“initech” has events")
        expect(tab.locator("#panel-text")).to_contain_text("“sent <b>twice</b>”")
        assert len([query for query in tab.queries() if query.startswith("summary")]) == 1, state


def test_a_range_ends_with_the_newest_event_that_counts(tab: Tab, site: Site) -> None:
    site.post_at("hooli", "2021-03-01T05:00:00Z")
    later = site.post_at("hooli", *(f"2021-05-01T05:00:{n:02}Z" for n in range(30)))
    site.void(later, "a test")
    tab.open(customer="hooli", range="24h")
    expect(tab.locator("#stat-total")).to_have_text("1")
    expect(tab.locator("#result-range")).to_contain_text("1 Mar 2021, 06:00, UTC")


def test_an_empty_range_leads_to_the_newest_events(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="own", start="2020-01-01T00:00", end="2020-01-02T00:00")
    expect(tab.locator("#empty")).to_contain_text("No events in this range")
    tab.page.get_by_role("button", name="Go to the newest events").click()
    expect(tab.locator("#stat-total")).to_have_text("750")


def test_loading_is_shown_and_announced(tab: Tab) -> None:
    buckets = tab.hold("**/buckets?*")
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#loading")).to_be_visible()
    announcement = tab.page.get_by_role("status").and_(tab.locator("#announcement"))
    expect(announcement).to_have_text("Loading")
    buckets.release_last()
    expect(tab.locator("#loading")).to_be_hidden()
    expect(announcement).to_have_text(f"{CUSTOMER}: 750 events, 11 Mar 2021 – 9 Apr 2021, UTC")
    expect(tab.locator("#stat-total")).to_have_text("750")


def test_an_error_is_shown_and_can_be_retried(tab: Tab) -> None:
    tab.expected = {503}
    problem = {"title": "The store does not answer", "detail": "try later", "errors": []}
    tab.page.route(
        "**/buckets?*",
        lambda route: route.fulfill(
            status=503, body=json.dumps(problem), headers={"Retry-After": "1"}
        ),
    )
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#panel-title")).to_have_text("The store does not answer")
    expect(tab.locator("#panel-text")).to_have_text("Try later.")
    tab.page.unroute("**/buckets?*")
    tab.page.get_by_role("button", name="Try again").click()
    expect(tab.locator("#stat-total")).to_have_text("750")


def test_no_response_is_an_error_too(tab: Tab) -> None:
    tab.expected = {0}
    tab.page.route("**/buckets?*", lambda route: route.abort())
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#panel-title")).to_have_text("Cannot reach the service")


def test_the_page_asks_for_a_key_and_keeps_it_in_this_tab(
    new_tab: Open, guarded_site: Site
) -> None:
    tab = new_tab(guarded_site)
    tab.expected = {401}
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#panel-title")).to_have_text("API key required")
    tab.page.get_by_label("API key").fill("events_wrong")
    tab.page.get_by_role("button", name="Use key").click()
    expect(tab.locator("#panel-title")).to_have_text("Invalid API key")
    token = guarded_site.create_key("--name", "reader", "--right", "read")
    tab.page.get_by_label("API key").fill(token)
    tab.page.get_by_role("button", name="Use key").click()
    expect(tab.locator("#stat-total")).to_have_text("10")
    assert token not in tab.page.url + tab.page.content()
    stored = "[Object.values({...localStorage}), Object.values({...sessionStorage})]"
    assert tab.page.evaluate(stored) == [[], [token]]
    tab.page.reload()
    expect(tab.locator("#stat-total")).to_have_text("10")
    tab.page.get_by_role("button", name="Copy as curl").click()
    expect(tab.locator("#toast")).to_have_text("Copied")
    assert token not in tab.page.evaluate("navigator.clipboard.readText()")
    tab.page.get_by_role("button", name="Forget key").click()
    expect(tab.locator("#panel-title")).to_have_text("API key required")
    assert tab.page.evaluate(stored) == [[], []]


def test_a_key_for_another_customer_is_denied(new_tab: Open, guarded_site: Site) -> None:
    tab = new_tab(guarded_site)
    tab.expected = {401, 403}
    tab.open(customer=CUSTOMER)
    token = guarded_site.create_key("--name", "other", "--right", "read", "--customer", "globex")
    tab.page.get_by_label("API key").fill(token)
    tab.page.get_by_role("button", name="Use key").click()
    expect(tab.locator("#panel-title")).to_have_text("Permission denied")


def test_markup_in_ids_and_types_is_shown_as_text(tab: Tab, site: Site) -> None:
    customer = "".join(MARKUP)
    for markup in MARKUP:
        site.post_at(customer, "2021-03-01T00:00:00Z", event_type=markup)
    tab.open(customer=customer, compare="previous", event_type=MARKUP)
    expect(tab.locator("#result-title")).to_have_text(customer)
    assert tab.page.title() == f"{customer} · Usage events"
    tab.page.get_by_role("slider").press("End")
    for markup in MARKUP:
        expect(tab.locator("#tip .tip-row").filter(has_text=markup)).to_have_count(1)
    tab.customer.fill(customer[:20])
    expect(tab.page.get_by_role("option").first).to_contain_text(customer)
    for name in ("SVG", "CSV", "PNG"):
        tab.download(name)
    tab.open(customer="x", range="<b>", start="<b>", view="<b>", bars="constructor")
    expect(tab.locator("#panel-title")).to_have_text("No events for this customer")
    assert tab.locator("img").count() == 1
