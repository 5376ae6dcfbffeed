"""How soon the page shows its first chart: cold, and as the events of a customer grow."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from functools import partial
from urllib.parse import urlencode

from playwright.sync_api import Browser, sync_playwright

from benchmarks.measuring import (
    database,
    fresh_settings,
    interleaved,
    median_ratio,
    percentile,
    print_table,
)
from benchmarks.query import MONTH, fill, name_of
from benchmarks.serving import api
from events.bootstrap import make_service

_LOADS = 15
_TYPES = ("page_view", "api_call", "search", "sign-in", "invoice.paid")
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Resolved in the first task after the frame that has the first bar in it: by then it is painted.
#: `performance.now()` counts from the start of the navigation.
_CLOCK = """
window.barPaintedAt = new Promise((resolve) => {
    new MutationObserver((_, observer) => {
        if (!document.querySelector("#plot path")) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
    }).observe(document, { childList: true, subtree: true });
});
"""


def run(*, is_quick: bool) -> None:
    few, many = (500, 2_000) if is_quick else (6_000, 1_000_000)
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise RuntimeError("no chromium here: apt-get install chromium")
    with database() as server:
        settings = fresh_settings(server)
        with closing(make_service(settings, patience_seconds=60)) as service:
            service.create_tables()
            for size in (few, many):
                fill(service, size, _TYPES)
        with api(settings) as port, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program)
            variants = _variants(browser, f"http://127.0.0.1:{port}", (few, many))
            # The first, of a browser that has just begun, is not counted.
            for load in variants.values():
                load()
            found = interleaved(3 if is_quick else _LOADS, variants)
            browser.close()
    _print(found, few, many)


def _variants(
    browser: Browser, address: str, sizes: tuple[int, ...]
) -> dict[str, Callable[[], float]]:
    dates = {"start": f"{MONTH.start:%Y-%m-%d}", "end": f"{MONTH.end:%Y-%m-%d}"}
    return {
        f"{name}, {size:,} events": partial(
            _load,
            browser,
            f"{address}/?{urlencode({'customer': name_of(size), **asked})}",
            total=size if asked else None,
        )
        for name, asked in (("a month by its dates", dates), ("the last 30 days", {}))
        for size in sizes
    }


def _load(browser: Browser, address: str, *, total: int | None) -> float:
    """
    Milliseconds from the start of a navigation, with nothing cached, to the first bar.

    Args:
        total: What the page must say that it shows; None: that is not known.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        page.add_init_script(_CLOCK)
        page.goto(address)
        painted = float(page.evaluate("window.barPaintedAt"))
        shown = int(page.inner_text("#stat-total").replace(",", ""))
        if total not in (None, shown):
            raise RuntimeError(f"the page shows {shown:,} of {total:,} events")
        return painted
    finally:
        context.close()


def _print(found: dict[str, list[float]], few: int, many: int) -> None:
    rows = []
    for name, times in found.items():
        is_many = name.endswith(f" {many:,} events")
        fewer = found[name.replace(f" {many:,} ", f" {few:,} ")]
        rows.append(
            (
                name,
                f"{percentile(times, 0.5):,.0f} ms",
                f"{percentile(times, 0.95):,.0f} ms",
                f"{median_ratio(times, fewer):.2f} ×",
                "p50 < 1,000 ms" if is_many else "",
            )
        )
    print_table(
        f"First bar of the page's chart painted, {len(next(iter(found.values())))} cold loads each",
        ("view", "p50", "p95", f"to {few:,} events, p50", "aim"),
        rows,
    )
