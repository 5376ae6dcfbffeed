"""Ids of any length and script; the view as a system with its own colours has it, and on paper."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CUSTOMER, NARROW, Open, Scheme, Site, Tab

SVG_TEXT = "{http://www.w3.org/2000/svg}text"
_HEIGHT = "element => element.clientHeight / parseFloat(getComputedStyle(element).lineHeight)"
_BACKGROUNDS = "all => all.map(each => getComputedStyle(each).backgroundColor)"


def test_the_longest_id_is_cut_where_it_would_push_all_else_away(new_tab: Open, site: Site) -> None:
    customer = "L" * 2_048
    event = {"event_type": "T" * 400, "transaction_id": "1", "timestamp": "2021-03-01T05:00:00Z"}
    site.post([{**event, "customer_id": customer}])
    tab = new_tab(site, size=NARROW)
    tab.open(customer=customer)
    expect(tab.locator("#result-title")).to_have_text(customer)
    expect(tab.locator("#result-title")).to_have_attribute("title", customer)
    assert tab.locator("#result-title").evaluate(_HEIGHT) == pytest.approx(3, abs=0.1)
    # One event in thirty days is not none a day.
    expect(tab.locator("#stat-mean")).to_have_text("0.033")
    with tab.page.expect_download() as waiting:
        tab.page.get_by_role("button", name="SVG").click()
    texts = list(ElementTree.fromstring(Path(waiting.value.path()).read_bytes()).iter(SVG_TEXT))
    title, window = texts[:2]
    assert float(title.attrib["font-size"]) > 12
    assert (title.text or "").lstrip("L") == "…"
    assert (window.text or "").startswith("1 event, ")


@pytest.mark.parametrize("customer", ["שלום, עולם!", "acme\u202egnorw"])
def test_the_direction_of_an_id_is_its_own(tab: Tab, customer: str) -> None:
    tab.open(customer=customer)
    expect(tab.locator("#panel-title")).to_have_text("No events of this customer")
    # What follows the id begins where it ends, on its right: it is not turned round.
    end, begin = tab.locator("#panel-text").evaluate(
        """text => {
            const after = document.createRange();
            after.selectNodeContents(text.lastChild);
            const id = text.querySelector("bdi").getBoundingClientRect();
            return [id.right, after.getClientRects()[0].left];
        }"""
    )
    assert end == pytest.approx(begin, abs=2)
    assert tab.locator("#panel-text bdi").inner_text() == customer


def test_what_is_chosen_shows_in_colours_of_the_system_too(tab: Tab) -> None:
    tab.page.emulate_media(forced_colors="active")
    tab.open(customer=CUSTOMER, range="7d", event_type="sign in")
    expect(tab.locator("#types [aria-pressed=true]")).to_have_count(1)
    for all_of_them in ("#ranges span", "#types .chip"):
        backgrounds = tab.locator(all_of_them).evaluate_all(_BACKGROUNDS)
        # One is unlike the others, which are alike.
        assert sorted(map(backgrounds.count, set(backgrounds))) == [1, len(backgrounds) - 1]
    tones = tab.locator("#types .key").evaluate_all(_BACKGROUNDS)
    fills = "each => each.map(path => getComputedStyle(path).fill)"
    assert tones == tab.locator("#plot path[class^=tone]").evaluate_all(fills)


def test_one_event_beside_a_thousand_can_be_seen(tab: Tab, site: Site) -> None:
    event = {"customer_id": "uneven", "event_type": "many", "timestamp": "2021-03-01T10:00:00Z"}
    events = [{**event, "transaction_id": str(number)} for number in range(999)]
    alone = {"event_type": "one", "transaction_id": "1", "timestamp": "2021-03-01T12:00:00Z"}
    site.post([*events, {**event, **alone}])
    tab.open(customer="uneven", range="24h")
    expect(tab.locator("#stat-total")).to_have_text("1,000")
    many, one = tab.locator("#plot path[class^=tone]").evaluate_all(
        "layers => layers.map(layer => layer.getBBox().height)"
    )
    assert many > 100
    assert one == pytest.approx(2, abs=0.1)


def test_on_paper_there_are_all_rows_and_nothing_to_press(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, compare="previous")
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    tab.page.emulate_media(media="print")
    tab.page.set_viewport_size({"width": 720, "height": 900})
    expect(tab.locator("button:visible:not(.chip), input:visible, select:visible")).to_have_count(0)
    expect(tab.locator("#plot svg")).to_be_visible()
    fits = "table => table.scrollHeight <= table.clientHeight"
    assert tab.page.get_by_role("region", name="Rows").evaluate(fits)
    assert tab.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_edges_of_fields_and_of_what_is_chosen_stand_out_from_the_page(
    new_tab: Open, site: Site, scheme: Scheme
) -> None:
    # WCAG 1.4.11, at which axe does not look.
    tab = new_tab(site, scheme=scheme)
    tab.open(customer=CUSTOMER)
    page, *edges = tab.locator("body, #customer, #ranges :checked + span").evaluate_all(
        """([body, field, chosen]) => [
            getComputedStyle(body).backgroundColor,
            getComputedStyle(field).borderTopColor,
            getComputedStyle(chosen).boxShadow,
        ].map(colour => /rgb\\((\\d+), (\\d+), (\\d+)\\)/.exec(colour).slice(1).map(Number))"""
    )
    assert len(edges) == 2
    for edge in edges:
        dark, light = sorted(map(luminance, (page, edge)))
        assert (light + 0.05) / (dark + 0.05) >= 3


def luminance(colour: list[int]) -> float:
    """As WCAG has it: 0 for black, 1 for white."""
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (part / 255 for part in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
