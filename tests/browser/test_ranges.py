"""Where the ranges of the page end, and customers whose names browsers take out of paths."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CUSTOMER, Site, Tab


def test_events_of_the_future_do_not_move_the_ranges(tab: Tab, site: Site) -> None:
    later = datetime.now(UTC) + timedelta(days=400)
    site.post_at("ahead", "2021-03-01T06:00:00Z", "2021-04-01T06:30:00Z", later.isoformat())
    tab.open(customer="ahead")
    expect(tab.locator("#result-range")).to_have_text("3 Mar 2021 – 1 Apr 2021, UTC")
    for label, total in (("24 h", 1), ("All", 2)):
        tab.page.get_by_label(label, exact=True).check()
        expect(tab.locator("#stat-total")).to_have_text(str(total))
        expect(tab.locator("#types .total")).to_have_text(str(total))
        expect(tab.locator("#later")).to_have_text(
            f"There are later events, up to {later.day} {later:%b %Y, %H:%M:%S} UTC. "
            "Show the latest"
        )
    tab.page.get_by_role("button", name="Show the latest").click()
    expect(tab.locator("#stat-total")).to_have_text("1")
    expect(tab.locator("#result-range")).to_contain_text(f"{later.year}")
    expect(tab.locator("#later")).to_be_hidden()
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#later")).to_be_hidden()
    tab.open()
    expect(tab.locator("#overview-later")).to_contain_text("later events: ahead")
    expect(tab.locator("#overview-range")).not_to_contain_text(f"{later.year}")
    tab.locator("#overview-later").get_by_role("button", name="ahead").click()
    expect(tab.locator("#result-title")).to_have_text("ahead")


def test_the_overview_ends_with_the_newest_event_until_now(tab: Tab, site: Site) -> None:
    past = datetime.now(UTC) - timedelta(minutes=1)
    later = past + timedelta(days=1)
    events = site.post_at("tomorrow", past.isoformat(), later.isoformat())
    tab.open()
    expect(tab.locator("#overview-range")).to_contain_text(f"– {past.day} {past:%b %Y}, UTC")
    tile = tab.locator("#overview-customers button").filter(has_text="tomorrow")
    expect(tile.locator(".total")).to_have_text("1")
    site.void(events, "other tests see only their own events")


def test_a_customer_with_future_events_alone_is_shown(tab: Tab, site: Site) -> None:
    later = datetime.now(UTC) + timedelta(days=90)
    site.post_at("only-ahead", later.isoformat())
    tab.open(customer="only-ahead")
    expect(tab.locator("#stat-total")).to_have_text("1")
    expect(tab.locator("#later")).to_be_hidden()


@pytest.mark.parametrize("customer", [".", ".."])
def test_a_customer_named_by_dots_is_shown(tab: Tab, site: Site, customer: str) -> None:
    """Browsers take these names out of paths."""
    site.post_at(customer, "2021-03-01T06:00:00Z", "2021-03-01T06:30:00Z", "2021-04-01T06:30:00Z")
    site.post_at(customer, "2021-04-01T07:30:00Z", event_type="other")
    tab.open(customer=customer)
    expect(tab.locator("#result-title")).to_have_text(customer)
    expect(tab.locator("#result-range")).to_have_text("3 Mar 2021 – 1 Apr 2021, UTC")
    assert tab.total() == 2
    tab.page.get_by_label("All", exact=True).check()
    expect(tab.locator("#stat-total")).to_have_text("4")
    expect(tab.locator("#types .chip .name")).to_have_text(["e", "other"])
    expect(tab.locator("#types .chip .total")).to_have_text(["3", "1"])
    expect(tab.locator("#stat-busiest-when")).to_have_text("1 Mar 2021, 06:00–07:00 UTC")
    _, path = tab.download("CSV")
    assert path.read_text().splitlines()[1].startswith(f"{customer},2021-03-01")
