"""Every panel passes axe; long and foreign IDs, forced colors, print, and contrast."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from playwright.sync_api import FilePayload, expect

from tests.browser.conftest import CUSTOMER, NARROW, WIDE, Open, Scheme, Site, Tab

SVG_TEXT = "{http://www.w3.org/2000/svg}text"
#: Rows of a table are alike: checking all of them takes most of the time and finds nothing new.
_AXE = """axe.run({exclude: [['tbody tr:nth-child(n+4)']]}, {resultTypes: ['violations']}).then(
    ({violations}) => violations.map(({id, nodes}) => [id, nodes.map(({html}) => html)]))"""
_LINES = "element => element.clientHeight / parseFloat(getComputedStyle(element).lineHeight)"
_BACKGROUNDS = "all => all.map(element => getComputedStyle(element).backgroundColor)"
_OVERFLOW = "document.documentElement.scrollWidth - innerWidth"

State = dict[str, str | list[str]]


# Contrast depends on the scheme and layout on the size: two combinations cover both.
@pytest.mark.parametrize(
    ("scheme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"]
)
def test_every_panel_passes_axe_and_fits_the_screen(
    new_tab: Open, site: Site, guarded_site: Site, axe: str, scheme: Scheme, size: tuple[int, int]
) -> None:
    voided = site.post_at("umbrella", "2021-03-01T00:00:00Z")
    site.void(voided, "sent twice")
    cut_hours: State = {"start": "2021-03-05T10:30", "end": "2021-03-05T13:20"}
    states: dict[str, State] = {
        "chart": {"customer": CUSTOMER, "range": "7d", "compare": "previous"},
        "dates": {"customer": CUSTOMER, "event_type": ["page_view"], **cut_hours},
        "empty": {"customer": CUSTOMER, "start": "2020-03-05T10:00", "end": "2020-03-05T13:00"},
        "zone": {"customer": CUSTOMER, "timezone": "Asia/Kolkata", "range": "24h"},
        "start": {},
        "voided": {"customer": "umbrella"},
        "unknown": {"customer": "nobody/" * 30},
        "error": {"customer": " white space is refused"},
        "file": {"customer": CUSTOMER, "view": "total", "range": "24h"},
    }
    tab = new_tab(site, scheme=scheme, size=size)
    tab.expected = {400}
    for name, state in states.items():
        tab.open(**state)
        expect(
            tab.locator("#panel, #result, #overview").locator("visible=true").first
        ).to_be_visible()
        expect(tab.locator("#loading")).to_be_hidden()
        if name == "chart":
            tab.page.get_by_role("slider").press("Home")
        elif name == "zone":
            tab.page.get_by_label("Time zone", exact=True).select_option("Other…")
            tab.page.get_by_role("button", name="Use time zone").click()
            expect(tab.locator("#zone-error")).to_be_visible()
        elif name == "file":
            # Every row is rejected, so nothing is stored.
            header = b"customer_id,event_type,transaction_id,timestamp\n"
            rows = header + b"a,b,c,a time that cannot be parsed\n" * 20
            file: FilePayload = {"name": "f.csv", "mimeType": "text/csv", "buffer": rows}
            tab.page.get_by_label("CSV file of events").set_input_files(file)
            expect(tab.locator("#save-rejects")).to_be_visible()
        check(tab, axe, name)
    tab = new_tab(guarded_site, scheme=scheme, size=size)
    tab.expected = {401}
    tab.open(customer=CUSTOMER)
    expect(tab.locator("#key-form")).to_be_visible()
    check(tab, axe, "key")


def check(tab: Tab, axe: str, name: str) -> None:
    tab.page.evaluate(axe)
    assert tab.page.evaluate(_AXE) == [], name
    assert tab.page.evaluate(_OVERFLOW) <= 0, name


def test_the_longest_id_is_cut_to_three_lines(new_tab: Open, site: Site) -> None:
    customer = "L" * 2_048
    site.post_at(customer, "2021-03-01T05:00:00Z", event_type="T" * 400)
    tab = new_tab(site, size=NARROW)
    tab.open(customer=customer)
    expect(tab.locator("#result-title")).to_have_text(customer)
    expect(tab.locator("#result-title")).to_have_attribute("title", customer)
    assert tab.locator("#result-title").evaluate(_LINES) == pytest.approx(3, abs=0.1)
    # The average of one event in thirty days is not rounded to 0.
    expect(tab.locator("#stat-mean")).to_have_text("0.033")
    _, path = tab.download("SVG")
    title, range_ = list(ElementTree.fromstring(path.read_bytes()).iter(SVG_TEXT))[:2]
    assert float(title.attrib["font-size"]) > 12
    assert (title.text or "").lstrip("L") == "…"
    assert (range_.text or "").startswith("1 event, ")


def test_the_direction_of_an_id_does_not_turn_other_text(tab: Tab) -> None:
    for customer in ("שלום, עולם!", "acme\u202egnorw"):
        tab.open(customer=customer)
        expect(tab.locator("#panel-title")).to_have_text("No events for this customer")
        # The text after the ID starts where the ID ends, on its right.
        end, start = tab.locator("#panel-text").evaluate(
            """text => {
                const after = document.createRange();
                after.selectNodeContents(text.lastChild);
                const id = text.querySelector("bdi").getBoundingClientRect();
                return [id.right, after.getClientRects()[0].left];
            }"""
        )
        assert end == pytest.approx(start, abs=2)
        assert tab.locator("#panel-text bdi").inner_text() == customer


def test_forced_colors_still_mark_what_is_chosen(tab: Tab) -> None:
    tab.page.emulate_media(forced_colors="active")
    tab.open(customer=CUSTOMER, range="7d", event_type="sign in")
    expect(tab.locator("#types [aria-pressed=true]")).to_have_count(1)
    for options in ("#ranges span", "#types .chip"):
        backgrounds = tab.locator(options).evaluate_all(_BACKGROUNDS)
        # One option differs from the others, which are alike.
        assert sorted(map(backgrounds.count, set(backgrounds))) == [1, len(backgrounds) - 1]
    colors = tab.locator("#types .key").evaluate_all(_BACKGROUNDS)
    fills = "paths => paths.map(path => getComputedStyle(path).fill)"
    assert colors == tab.locator("#plot path[class^=tone]").evaluate_all(fills)


def test_print_has_all_rows_and_no_controls(tab: Tab) -> None:
    tab.open(customer=CUSTOMER, compare="previous")
    expect(tab.locator("#stat-busiest")).to_have_text("2")
    tab.page.emulate_media(media="print")
    tab.page.set_viewport_size({"width": 720, "height": 900})
    expect(tab.locator("button:visible:not(.chip), input:visible, select:visible")).to_have_count(0)
    expect(tab.locator("#plot svg")).to_be_visible()
    fits = "table => table.scrollHeight <= table.clientHeight"
    assert tab.page.get_by_role("region", name="Rows").evaluate(fits)
    assert tab.page.evaluate(_OVERFLOW) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_edges_of_fields_have_enough_contrast(new_tab: Open, site: Site, scheme: Scheme) -> None:
    # WCAG 1.4.11, which axe does not check.
    tab = new_tab(site, scheme=scheme)
    tab.open(customer=CUSTOMER)
    page, *edges = tab.locator("body, #customer, #ranges :checked + span").evaluate_all(
        """([body, field, chosen]) => [
            getComputedStyle(body).backgroundColor,
            getComputedStyle(field).borderTopColor,
            getComputedStyle(chosen).boxShadow,
        ].map(color => /rgb\\((\\d+), (\\d+), (\\d+)\\)/.exec(color).slice(1).map(Number))"""
    )
    assert len(edges) == 2
    for edge in edges:
        dark, light = sorted(map(luminance, (page, edge)))
        assert (light + 0.05) / (dark + 0.05) >= 3


def luminance(color: list[int]) -> float:
    """The relative luminance of WCAG: 0 for black, 1 for white."""
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (part / 255 for part in color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
