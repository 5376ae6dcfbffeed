"""The view as CSV, SVG, PNG, and as a curl command."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from itertools import pairwise
from xml.etree import ElementTree

from playwright.sync_api import expect

from tests.browser.conftest import CUSTOMER, Site, Tab


def test_the_view_is_downloaded_as_csv_svg_and_png(tab: Tab, site: Site) -> None:
    tab.open(customer=CUSTOMER, range="24h", event_type=["page_view", "api-call"])
    expect(tab.locator("#stat-total")).to_be_visible()
    name, path = tab.download("CSV")
    query = (
        "start=2021-04-09&end=2021-04-10&event_type=page_view&event_type=api-call"
        "&group_by=event_type&format=csv"
    )
    url = f"{site.url}/events/customers/acme%2F%C3%A9%20%26%20sons/buckets?{query}"
    with urllib.request.urlopen(url) as response:
        csv = response.read()
    assert (name, path.read_bytes()) == ("acme_sons_2021-04-09_2021-04-10.csv", csv)
    name, path = tab.download("SVG")
    picture = ElementTree.fromstring(path.read_bytes())
    assert name.endswith(".svg")
    assert CUSTOMER in [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert not any({"class", "style"} & element.attrib.keys() for element in picture.iter())
    name, path = tab.download("PNG")
    assert name.endswith(".png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_csv_has_the_days_of_the_time_zone(tab: Tab) -> None:
    state = {"start": "2021-03-03", "end": "2021-03-06", "timezone": "Asia/Kolkata"}
    tab.open(customer=CUSTOMER, bars="day", view="total", **state)
    expect(tab.locator("#stat-total")).to_have_text("75")
    name, path = tab.download("CSV")
    assert name == "acme_sons_2021-03-03_2021-03-06.csv"
    midnights = [f"2021-03-{day:02}T00:00:00.000000+05:30" for day in (3, 4, 5, 6)]
    assert path.read_text(encoding="utf-8").splitlines()[1:] == [
        f"{start},{end},25,false" for start, end in pairwise(midnights)
    ]


def test_the_curl_command_gives_the_same_counts(tab: Tab, site: Site) -> None:
    customer = "o'neil $(id)"
    site.post_at(customer, "2021-03-01T05:00:00Z", event_type="it's")
    tab.open(customer=customer, event_type="it's")
    tab.page.get_by_role("button", name="Copy as curl").click()
    expect(tab.locator("#toast")).to_have_text("Copied")
    command = tab.page.evaluate("navigator.clipboard.readText()")
    ran = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=True)
    assert json.loads(ran.stdout)["buckets"] == [
        {
            "start": "2021-03-01T00:00:00.000000+00:00",
            "end": "2021-03-02T00:00:00.000000+00:00",
            "count": 1,
            "partial": False,
            "counts": {"it's": 1},
        }
    ]
