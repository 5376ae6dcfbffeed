"""Faces of the page beside the chart: nothing yet, nobody there, no answer, no permission."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import FilePayload, Route, expect

from tests.browser.conftest import CUSTOMER, NARROW, WIDE, Open, Scheme, Site, Tab

EVIL = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "javascript:alert(3)//'",
    "${alert(4)}{{7*7}}",
]
AXE = (
    "axe.run({resultTypes: ['violations']}).then(found => found.violations.map(each => "
    "[each.id, each.nodes.map(node => node.html.slice(0, 120))]))"
)


def test_without_a_customer_the_page_offers_those_there_are(tab: Tab) -> None:
    tab.open()
    expect(tab.locator("#panel-title")).to_have_text("Choose a customer")
    heard = tab.locator("#heard")
    expect(heard).to_have_text(
        "Choose a customer. Type the start of an id above, or take one of these."
    )
    tab.locator("#panel").get_by_role("button", name=CUSTOMER).click()
    expect(tab.locator("#result-title")).to_have_text(CUSTOMER)


def test_without_any_event_the_page_asks_for_a_file(tab: Tab) -> None:
    tab.page.route(
        "**/events/customers?*", lambda route: route.fulfill(json={"customers": [], "next": None})
    )
    tab.open()
    expect(tab.locator("#panel-title")).to_have_text("No events yet")


def test_an_unknown_customer_is_said_to_be_unknown(tab: Tab) -> None:
    tab.open(customer="Acme")
    expect(tab.locator("#panel-title")).to_have_text("No events of this customer")
    expect(tab.locator("#panel-text")).to_contain_text("“Acme”")


@pytest.mark.parametrize(
    "state", [{}, {"range": "all"}, {"start": "2021-03-01", "end": "2021-04-01"}]
)
def test_a_customer_of_voided_events_alone_is_known_and_not_counted(
    new_tab: Open, site: Site, state: dict[str, str | list[str]]
) -> None:
    event = {"customer_id": "initech", "event_type": "e", "timestamp": "2021-03-01T00:00:00Z"}
    events = [{**event, "transaction_id": f"{place}"} for place in range(30)]
    site.post(events)
    site.void(events, "sent <b>twice</b>")
    tab = new_tab(site)
    tab.open(customer="initech", **state)
    expect(tab.locator("#panel-title")).to_have_text("Every event of this customer is voided")
    expect(tab.locator("#panel-text")).to_contain_text("“initech” is known")
    expect(tab.locator("#panel-text")).to_contain_text("“sent <b>twice</b>”")
    assert len(tab.asked("/summary")) == 1


def test_behind_voided_events_the_newest_that_counts_ends_the_range(tab: Tab, site: Site) -> None:
    event = {"customer_id": "hooli", "event_type": "e"}
    site.post([{**event, "transaction_id": "1", "timestamp": "2021-03-01T05:00:00Z"}])
    voided = [
        {**event, "transaction_id": f"v{place}", "timestamp": "2021-05-01T05:00:00Z"}
        for place in range(30)
    ]
    site.post(voided)
    site.void(voided, "a test")
    tab.open(customer="hooli", range="24h")
    expect(tab.locator("#stat-total")).to_have_text("1")
    expect(tab.locator("#result-window")).to_contain_text("1 Mar 2021, 06:00, UTC")


def test_a_range_without_events_leads_to_the_newest(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, range="own", start="2020-01-01T00:00", end="2020-01-02T00:00")
    expect(tab.locator("#empty")).to_contain_text("No events in this range")
    tab.page.get_by_role("button", name="Go to the newest").click()
    expect(tab.locator("#stat-total")).to_have_text("750")


def test_while_it_waits_for_an_answer_it_says_so(tab: Tab) -> None:
    held: list[Route] = []
    tab.page.route("**/buckets?*", lambda route: held.append(route))
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#loading")).to_be_visible()
    heard = tab.page.get_by_role("status").and_(tab.locator("#heard"))
    expect(heard).to_have_text("Loading")
    tab.page.wait_for_timeout(200)
    (route,) = held
    route.continue_()
    expect(tab.locator("#loading")).to_be_hidden()
    expect(heard).to_have_text(f"{CUSTOMER}: 750 events, 11 Mar 2021 – 9 Apr 2021, UTC")
    expect(tab.locator("#stat-total")).to_have_text("750")


def test_an_error_says_what_is_wrong_and_can_be_tried_again(tab: Tab) -> None:
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


def test_a_service_that_went_away_is_an_error_too(tab: Tab) -> None:
    tab.expected = {0}
    tab.page.route("**/buckets?*", lambda route: route.abort())
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#panel-title")).to_have_text("The service cannot be reached")


def test_an_answer_that_breaks_off_leaves_the_view_and_is_asked_for_again(
    tab: Tab, site: Site
) -> None:
    event = {"customer_id": "broken", "event_type": "e", "timestamp": "2021-03-01T05:00:00Z"}
    site.post([{**event, "transaction_id": "1"}])
    tab.open(customer="broken")
    expect(tab.locator("#stat-total")).to_have_text("1")
    tab.page.route("**/buckets?*", lambda route: route.fulfill(body='{"buckets": ['))
    expect(tab.locator("#freshness")).to_have_attribute("data-state", "trouble", timeout=12_000)
    assert tab.text("#stat-total") == "1"
    tab.page.reload()
    expect(tab.locator("#panel-title")).to_have_text("The answer cannot be read")
    tab.page.unroute("**/buckets?*")
    tab.page.get_by_role("button", name="Try again").click()
    expect(tab.locator("#stat-total")).to_have_text("1")


def test_without_a_key_the_page_asks_for_one_and_keeps_it_for_this_tab_alone(
    new_tab: Open, guarded_site: Site
) -> None:
    tab = new_tab(guarded_site)
    tab.expected = {401}
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#panel-title")).to_have_text("An API key is needed")
    tab.page.get_by_label("API key").fill("events_wrong")
    tab.page.get_by_role("button", name="Use key").click()
    expect(tab.locator("#panel-title")).to_have_text("This key is not accepted")
    token = guarded_site.key("--name", "reader", "--right", "read")
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
    expect(tab.locator("#panel-title")).to_have_text("An API key is needed")
    assert tab.page.evaluate(stored) == [[], []]


def test_a_key_of_another_customer_is_told_that_it_has_no_permission(
    new_tab: Open, guarded_site: Site
) -> None:
    tab = new_tab(guarded_site)
    tab.expected = {401, 403}
    tab.open(customer=CUSTOMER)
    token = guarded_site.key("--name", "other", "--right", "read", "--customer", "globex")
    tab.page.get_by_label("API key").fill(token)
    tab.page.get_by_role("button", name="Use key").click()
    expect(tab.locator("#panel-title")).to_have_text("No permission")


def test_ids_and_types_that_are_markup_are_shown_as_text(tab: Tab, site: Site) -> None:
    site.post(
        [
            {
                "customer_id": f"{evil}{other}",
                "event_type": evil,
                "transaction_id": "t",
                "timestamp": "2021-03-01T00:00:00Z",
            }
            for evil in EVIL
            for other in EVIL[:2]
        ]
    )
    for evil in EVIL:
        customer = f"{evil}{EVIL[0]}"
        tab.open(customer=customer, compare="previous", event_type=EVIL)
        expect(tab.locator("#result-title")).to_have_text(customer)
        assert tab.page.title() == f"{customer} · Usage events"
        tab.page.get_by_role("slider").press("End")
        expect(tab.locator("#tip .tip-row").first).to_contain_text(evil)
        field = tab.customer
        field.fill(evil)
        expect(tab.page.get_by_role("option").first).to_contain_text(evil)
        for name in ("#save-svg", "#save-csv", "#save-png"):
            with tab.page.expect_download():
                tab.locator(name).click()
    tab.open(customer="x", range="<b>", start="<b>", view="<b>", bars="constructor")
    expect(tab.locator("#panel-title")).to_have_text("No events of this customer")
    assert tab.locator("img").count() == 1


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_face_is_accessible_and_none_is_wider_than_the_screen(
    new_tab: Open, site: Site, guarded_site: Site, axe: str, scheme: Scheme, size: tuple[int, int]
) -> None:
    faces: dict[str, tuple[Site, dict[str, str | list[str]]]] = {
        "chart": (site, {"customer": CUSTOMER, "range": "7d", "compare": "previous"}),
        "dates": (
            site,
            {
                "customer": CUSTOMER,
                "range": "own",
                "start": "2021-03-05T10:30",
                "end": "2021-03-05T13:20",
                "event_type": ["page_view"],
            },
        ),
        "empty": (
            site,
            {
                "customer": CUSTOMER,
                "range": "own",
                "start": "2020-03-05T10:00",
                "end": "2020-03-05T13:00",
            },
        ),
        "zone": (
            site,
            {"customer": CUSTOMER, "timezone": "Asia/Kolkata", "compare": "previous"},
        ),
        "start": (site, {}),
        "voided": (site, {"customer": "initech"}),
        "unknown": (site, {"customer": "nobody/" * 30}),
        "error": (site, {"customer": " white space is refused"}),
        "key": (guarded_site, {"customer": CUSTOMER}),
        "file": (site, {"customer": CUSTOMER, "view": "total"}),
    }
    voided = {
        "customer_id": "initech",
        "event_type": "e",
        "transaction_id": "0",
        "timestamp": "2021-03-01T00:00:00Z",
    }
    site.post([voided])
    site.void([voided], "sent twice")
    for name, (where, state) in faces.items():
        tab = new_tab(where, scheme=scheme, size=size)
        tab.expected = {400, 401}
        tab.open(**state)
        expect(tab.locator("#panel, #result").locator("visible=true").first).to_be_visible()
        expect(tab.locator("#loading")).to_be_hidden()
        if name == "chart":
            tab.page.get_by_role("slider").press("Home")
        elif name == "zone":
            tab.page.get_by_label("Time zone", exact=True).select_option("Another…")
            tab.page.get_by_role("button", name="Use zone").click()
            expect(tab.locator("#zone-error")).to_be_visible()
        elif name == "file":
            # Nothing of it is stored.
            rows = b"a,b\n" + b"a,b,c,a time that is none of those there are\n" * 20
            file: FilePayload = {"name": "f.csv", "mimeType": "text/csv", "buffer": rows}
            tab.page.get_by_label("CSV file of events").set_input_files(file)
            expect(tab.locator("#save-rejects")).to_be_visible()
        tab.page.evaluate(axe)
        assert tab.page.evaluate(AXE) == [], name
        width = "document.documentElement.scrollWidth - innerWidth"
        assert tab.page.evaluate(width) <= 0, name
