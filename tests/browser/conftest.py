"""A real browser before a real server, and what must never happen on any page."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import quote, unquote, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.support.database import Database
from tests.support.shell import Command, Shell, free_port, until
from tests.support.tables import Tables

Json = dict[str, Any]
Scheme = Literal["light", "dark"]

#: Debian's and Ubuntu's names, and Google's own.
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MILLISECONDS = 8_000
WIDE, NARROW = (1280, 900), (380, 800)
#: What the page says in the console of any answer that is no good one.
_FAILED = "Failed to load resource: the server responded with a status of "

#: The first event of `acme`; one each hour for forty days, and a second one at noon.
FIRST = datetime(2021, 3, 1, tzinfo=UTC)
DAYS = 40
CUSTOMER = "acme/é & sons"
TYPES = ("page_view", "api-call", "sign in")


def events_of_acme() -> list[Json]:
    hours = [FIRST + timedelta(hours=hour) for hour in range(DAYS * 24)]
    instants = hours + [hour + timedelta(minutes=30) for hour in hours if hour.hour == 12]
    return [
        {
            "customer_id": CUSTOMER,
            "event_type": TYPES[index % 3],
            "transaction_id": f"t-{index}",
            "timestamp": (at + timedelta(minutes=5)).isoformat(),
        }
        for index, at in enumerate(instants)
    ]


# --- the server -----------------------------------------------------------------------------------


class Site:
    """A server with tables of its own."""

    def __init__(self, shell: Shell, server: Command, url: str) -> None:
        self.shell = shell
        self.server = server
        self.url = url

    def post(self, events: list[Json], token: str | None = None) -> Json:
        """Take events in, past the page."""
        return self._send("/events", {"events": events}, token)

    def void(self, events: list[Json], reason: str) -> Json:
        return self._send("/events/void", {"events": events, "reason": reason}, None)

    def _send(self, path: str, content: Json, token: str | None) -> Json:
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, json.dumps(content).encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            receipts: Json = json.load(answer)
        return receipts

    def buckets(self, customer_id: str, **parameters: str) -> Json:
        path = f"{self.url}/events/customers/{quote(customer_id, safe='')}/buckets"
        with urllib.request.urlopen(f"{path}?{urlencode(parameters)}", timeout=20) as answer:
            buckets: Json = json.load(answer)
        return buckets

    def key(self, *arguments: str) -> str:
        """The token of a new key."""
        ran = self.shell.run("-m", "events", "keys", "create", *arguments)
        assert ran.code == 0, ran.err
        return ran.out.strip()


@contextmanager
def _serving(
    database: Database, factory: pytest.TempPathFactory, **settings: str
) -> Iterator[Site]:
    tables = Tables(database.endpoint_url, f"t{uuid.uuid4().hex}")
    shell = Shell(
        factory.mktemp("browser") / "here",
        {
            "DYNAMODB_ENDPOINT_URL": database.endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": tables.name,
            **settings,
        },
    )
    port = free_port()
    server = shell.start("-m", "events", "serve", "--port", str(port))
    try:
        until(lambda: "The API answers at" in server.err or not server.is_running())
        assert server.is_running(), server.err
        yield Site(shell, server, f"http://127.0.0.1:{port}")
    finally:
        shell.end()
        tables.drop()
        tables.client.close()


@pytest.fixture(scope="package")
def site(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Keys are off; it holds the events of `acme`, which no test changes."""
    with _serving(database, tmp_path_factory) as site:
        site.post(events_of_acme()[:1_000])
        yield site


@pytest.fixture(scope="package")
def guarded_site(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Keys are on; it holds the first ten events of `acme`."""
    with _serving(database, tmp_path_factory, EVENTS_API_KEYS="on") as site:
        site.post(events_of_acme()[:10], site.key("--name", "feed", "--right", "ingest"))
        yield site


# --- the browser ----------------------------------------------------------------------------------


# Of this package, not of the session: its loop must not run under the tests of others.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium, which CI must have: see .ci/run")
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


class Tab:
    """A page, and what it did that a page must not."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site
        #: Statuses of answers that the test provokes; 0 is no answer at all.
        self.expected: set[int] = set()
        self.requests: list[str] = []
        self._complaints: list[str] = []
        page.set_default_timeout(TIMEOUT_MILLISECONDS)
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self._complaints.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: self._complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._note(request.url))

    def _hear(self, kind: str, text: str) -> None:
        if kind not in ("error", "warning"):
            return
        statuses = {text.removeprefix(_FAILED)[:3]} if text.startswith(_FAILED) else set()
        if statuses & {str(status) for status in self.expected}:
            return
        if 0 in self.expected and "net::ERR" in text:
            return
        self._complaints.append(f"{kind}: {text}")

    def _note(self, url: str) -> None:
        self.requests.append(url)
        parts = urlsplit(url)
        if parts.scheme != "blob" and f"{parts.scheme}://{parts.netloc}" != self.site.url:
            self._complaints.append(f"a request to another host: {url}")

    def open(self, **state: str | list[str]) -> None:
        self.page.goto(f"{self.site.url}/?{urlencode(state, doseq=True)}")

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def rows(self, body: str = "#table-body") -> list[list[str]]:
        """The cells of a table, as they read."""
        rows: list[list[str]] = self.page.locator(f"{body} tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        return rows

    def asked(self, part: str) -> list[str]:
        return [url for url in self.requests if part in url]

    def questions(self) -> list[str]:
        """What the page asked of the API, in order, each as it follows the customer's id."""
        asked = [urlsplit(url) for url in self.asked("/events/customers/")]
        return [
            f"{each.path.rsplit('/', 1)[1]}?{unquote(each.query)}".rstrip("?") for each in asked
        ]

    @property
    def customer(self) -> Locator:
        return self.page.get_by_role("combobox", name="Customer", exact=True)

    def locator(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def assert_well(self) -> None:
        assert self._complaints == []


Open = Callable[..., Tab]


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[Open]:
    """A function that opens a tab with nothing remembered; in the end each was well."""
    tabs: list[Tab] = []

    def new_tab(
        site: Site, *, scheme: Scheme = "light", size: tuple[int, int] = WIDE, zone: str = "UTC"
    ) -> Tab:
        context = browser.new_context(
            color_scheme=scheme,
            viewport={"width": size[0], "height": size[1]},
            # Nothing may depend on where the reader is.
            timezone_id=zone,
            locale="en-US",
            permissions=["clipboard-read", "clipboard-write"],
            reduced_motion="reduce",
        )
        tabs.append(Tab(context.new_page(), site))
        return tabs[-1]

    yield new_tab
    for tab in tabs:
        tab.page.context.close()
    for tab in tabs:
        tab.assert_well()


@pytest.fixture
def tab(new_tab: Open, site: Site) -> Tab:
    return new_tab(site)


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, as its Python package brings it."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
