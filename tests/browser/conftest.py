"""A real browser, a real server, and what must not happen on any page."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

from tests.support.database import Database
from tests.support.fixtures import dropped_at_end, shell_on
from tests.support.shell import Command, Shell, free_port, until

Json = dict[str, Any]
Scheme = Literal["light", "dark"]

#: The names of chromium on Debian and Ubuntu, and those of Google Chrome. The headless shell comes
#: first: it draws no window, and the tests take a quarter less time.
_PROGRAMS = (
    "chromium-headless-shell",
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
)
#: Generous, because the machine may be busy with other tests.
TIMEOUT_MILLISECONDS = 30_000
WIDE, NARROW = (1280, 900), (380, 800)
#: The console message for a response that is not successful.
_FAILED = "Failed to load resource: the server responded with a status of "

#: `CUSTOMER` has an event each hour for 40 days from here, and a second one at noon.
FIRST = datetime(2021, 3, 1, tzinfo=UTC)
DAYS = 40
CUSTOMER = "acme/é & sons"
TYPES = ("page_view", "api-call", "sign in")


def events_of_customer() -> list[Json]:
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
    """A server with its own tables."""

    def __init__(self, shell: Shell, server: Command, url: str) -> None:
        self.shell = shell
        self.server = server
        self.url = url

    def post(self, events: list[Json], token: str | None = None) -> Json:
        """Store events through the API."""
        return self._send("/events", {"events": events}, token)

    def post_at(self, customer: str, *timestamps: str, event_type: str = "e") -> list[Json]:
        """Store an event at each timestamp, and return the events."""
        events = [
            {
                "customer_id": customer,
                "event_type": event_type,
                "transaction_id": f"{index}",
                "timestamp": timestamp,
            }
            for index, timestamp in enumerate(timestamps)
        ]
        self.post(events)
        return events

    def void(self, events: list[Json], reason: str) -> Json:
        return self._send("/events/void", {"events": events, "reason": reason}, None)

    def _send(self, path: str, content: Json, token: str | None) -> Json:
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, json.dumps(content).encode(), headers)
        with urllib.request.urlopen(request, timeout=180) as response:
            receipts: Json = json.load(response)
        return receipts

    def buckets(self, customer_id: str, **parameters: str) -> Json:
        path = f"{self.url}/events/customers/{quote(customer_id, safe='')}/buckets"
        with urllib.request.urlopen(f"{path}?{urlencode(parameters)}", timeout=60) as response:
            buckets: Json = json.load(response)
        return buckets

    def create_key(self, *arguments: str) -> str:
        """Create an API key with the command, and return its token."""
        ran = self.shell.call("-m", "events", "keys", "create", *arguments)
        assert ran.code == 0, ran.err
        return ran.out.strip()


@contextmanager
def _serving(
    database: Database, factory: pytest.TempPathFactory, **settings: str
) -> Iterator[Site]:
    # On a busy machine the database may answer late.
    settings = {"EVENTS_STORE_PATIENCE_SECONDS": "120", **settings}
    with (
        dropped_at_end(database.endpoint_url) as tables,
        shell_on(tables, factory.mktemp("browser"), **settings) as shell,
    ):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        server = shell.start("-m", "events", "serve", "--port", str(port))
        until(lambda: _is_ready(url) or not server.is_running())
        assert server.is_running(), server.err
        yield Site(shell, server, url)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


# The browser and the servers end with the last test of this folder: the event loop of Playwright
# must not run during other tests.
@pytest.fixture(scope="package")
def site(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server without API keys. No test changes the events of `CUSTOMER`."""
    with _serving(database, tmp_path_factory) as site:
        site.post(events_of_customer())
        yield site


@pytest.fixture(scope="package")
def guarded_site(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that requires API keys, with the first ten events of `CUSTOMER`."""
    with _serving(database, tmp_path_factory, EVENTS_API_KEYS="on") as site:
        site.post(events_of_customer()[:10], site.create_key("--name", "feed", "--right", "ingest"))
        yield site


# --- the browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing, which CI must have: see .ci/run")
        pytest.skip("chromium is missing: apt-get install chromium")
    expect.set_options(timeout=TIMEOUT_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


class Tab:
    """A page, with its requests and its complaints: errors, warnings, dialogs, foreign requests."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site
        #: Statuses of failed responses that the test provokes; 0 for no response.
        self.expected: set[int] = set()
        self.requests: list[str] = []
        self._complaints: list[str] = []
        page.set_default_timeout(TIMEOUT_MILLISECONDS)
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self._complaints.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: self._complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._note(request.url))

    def _hear(self, level: str, text: str) -> None:
        if level not in ("error", "warning"):
            return
        statuses = {text.removeprefix(_FAILED)[:3]} if text.startswith(_FAILED) else set()
        if statuses & {str(status) for status in self.expected}:
            return
        if 0 in self.expected and "net::ERR" in text:
            return
        self._complaints.append(f"{level}: {text}")

    def _note(self, url: str) -> None:
        self.requests.append(url)
        parts = urlsplit(url)
        if parts.scheme != "blob" and f"{parts.scheme}://{parts.netloc}" != self.site.url:
            self._complaints.append(f"request to another host: {url}")

    def open(self, **state: str | list[str]) -> None:
        self.requests.clear()
        self.page.goto(f"{self.site.url}/?{urlencode(state, doseq=True)}")

    def poll(self) -> None:
        """Make the page poll now, as when the reader comes back to its tab."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def hold(self, pattern: str) -> Held:
        """Hold all further requests to an address."""
        return Held(self.page, pattern)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def total(self) -> int:
        return int(self.text("#stat-total").replace(",", ""))

    def rows(self, body: str = "#table-body") -> list[list[str]]:
        """The cells of a table, as the reader sees them."""
        rows: list[list[str]] = self.page.locator(f"{body} tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        return [[cell.replace("\n", " ") for cell in row] for row in rows]

    def all_rows(self) -> list[list[str]]:
        while self.locator("#table-more").is_visible():
            self.locator("#table-more").click()
        return self.rows()

    def queries(self) -> list[str]:
        """The requests about the customer since `open`, each without the customer's path."""
        urls = [urlsplit(url) for url in self.requests if "/events/customers/" in url]
        return [f"{url.path.rsplit('/', 1)[1]}?{unquote(url.query)}".rstrip("?") for url in urls]

    def bucket_queries(self) -> list[str]:
        return [query for query in self.queries() if query.startswith("buckets?")]

    def download(self, button: str) -> tuple[str, Path]:
        """Press a button; the name of the file that it downloads, and where it is."""
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name=button, exact=True).click()
        return waiting.value.suggested_filename, Path(waiting.value.path())

    @property
    def customer(self) -> Locator:
        return self.page.get_by_role("combobox", name="Customer", exact=True)

    def locator(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def assert_no_complaints(self) -> None:
        assert self._complaints == []


class Held:
    """Requests that wait until the test releases them."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._page = page
        self._pattern = pattern
        self._routes: list[Route] = []
        self._is_released = False
        page.route(pattern, self._take)

    def _take(self, route: Route) -> None:
        if self._is_released:
            route.continue_()
        else:
            self._routes.append(route)

    def wait(self, count: int = 1) -> None:
        """Wait until so many requests are held."""
        deadline = time.monotonic() + TIMEOUT_MILLISECONDS / 1_000
        while len(self._routes) < count:
            assert time.monotonic() < deadline, f"no request to {self._pattern}"
            self._page.wait_for_timeout(20)

    def release_last(self) -> None:
        """Let the last one pass. The page has aborted those before it."""
        self.wait()
        self._routes[-1].continue_()

    def release(self) -> None:
        """Let all pass, and those that follow."""
        self._is_released = True
        for route in self._routes:
            route.continue_()


Open = Callable[..., Tab]


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[Open]:
    """A function that opens a tab in a fresh context. At the end no tab may have complaints."""
    tabs: list[Tab] = []

    def new_tab(
        site: Site, *, scheme: Scheme = "light", size: tuple[int, int] = WIDE, zone: str = "UTC"
    ) -> Tab:
        context = browser.new_context(
            color_scheme=scheme,
            viewport={"width": size[0], "height": size[1]},
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
        tab.assert_no_complaints()


@pytest.fixture
def tab(new_tab: Open, site: Site) -> Tab:
    return new_tab(site)


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, from its Python package."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
