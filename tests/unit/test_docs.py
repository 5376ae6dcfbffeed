"""The documentation: links lead somewhere, and every command and route is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from events import __version__
from events.app import create_app
from events.cli.main import app
from events.config import Settings
from events.domain.columns import ALIASES

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "examples/**/*.md")
    for page in CHECKOUT.glob(pattern)
)


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def name_of(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_reachable_from_the_readme() -> None:
    reached, waiting = set(), [CHECKOUT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose(page))
        waiting += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert [name_of(page) for page in PAGES if page not in reached] == []


def test_every_route_is_in_the_page_about_http() -> None:
    text = (DOCS / "http-api.md").read_text(encoding="utf-8")
    routes = [
        f"{method.upper()} {path}"
        for path, operations in create_app(Settings()).openapi()["paths"].items()
        for method in operations
        if method != "head"
    ]
    assert routes
    assert [route for route in routes if f"`{route}`" not in text] == []


def test_every_command_is_in_the_page_about_commands() -> None:
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    group = typer.main.get_group(app)
    assert group.commands
    missing = [name for name in group.commands if f"`python -m events {name}" not in text]
    assert missing == []


@pytest.mark.parametrize("field", ALIASES)
def test_every_name_of_a_column_is_in_the_page_about_files(field: str) -> None:
    text = (DOCS / "files.md").read_text(encoding="utf-8")
    names = re.findall(rf"^\| `{field}` \| (.+) \|$", text, re.MULTILINE)
    assert set(re.findall(r"`(.+?)`", names[0])) == {field, *ALIASES[field].split()}


def test_the_page_about_contributing_names_every_package() -> None:
    text = (DOCS / "contributing.md").read_text(encoding="utf-8")
    packages = [file.parent.name for file in CHECKOUT.glob("events/*/__init__.py")]
    assert packages
    assert [name for name in packages if f" {name}/ " not in text] == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("decisions/*.md")), ids=name_of)
def test_a_decision_fits_one_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60


def test_the_list_of_decisions_has_their_titles() -> None:
    titles = [
        page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for page in sorted((DOCS / "decisions").glob("0*.md"))
    ]
    text = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    assert [f"{n} {t}" for n, t in re.findall(r"^(\d+\.) \[(.+)\]\(", text, re.M)] == titles


def test_the_readme_has_at_most_130_lines() -> None:
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_the_changelog_starts_with_the_current_version() -> None:
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## (\S+)$", text, re.MULTILINE)[0]
    assert {newest, create_app(Settings()).version} == {__version__}
