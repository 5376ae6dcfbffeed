"""The dashboard's files, and the content security policy they are served with."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from events.api.middleware import SECURITY_HEADERS
from events.app import create_app
from events.config import Settings
from events.page.routes import PAGE_POLICY, STATIC
from tests.support.served import as_served

FILES = {path.name: path.read_bytes() for path in STATIC.iterdir()}


@pytest.fixture
def client() -> TestClient:
    return TestClient(as_served(create_app(Settings())))


def test_the_page_is_at_the_root_with_its_own_policy(client: TestClient) -> None:
    answer = client.get("/?customer=acme&event_type=a&event_type=b")
    assert answer.status_code == 200
    assert answer.content == (STATIC / "index.html").read_bytes()
    headers = {
        name: answer.headers.get_list(name)
        for name in ("content-type", "cache-control", "content-security-policy")
    }
    assert headers == {
        "content-type": ["text/html; charset=utf-8"],
        "cache-control": ["no-cache"],
        "content-security-policy": [PAGE_POLICY],
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_policy_allows_nothing_inline_or_from_other_hosts() -> None:
    policy = dict(part.strip().split(" ", 1) for part in PAGE_POLICY.split(";"))
    assert policy == {
        "default-src": "'self'",
        "img-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_everything_else_keeps_the_stricter_policy(client: TestClient) -> None:
    for path in ("/livez", "/openapi.json", "/static/none.js"):
        headers = client.get(path).headers
        assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS, path


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_file_is_served_and_revalidated(client: TestClient, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert (answer.status_code, answer.content) == (200, (STATIC / name).read_bytes())
    etag = answer.headers["etag"]
    for sent in (etag, f"W/{etag}", f'"other", {etag}'):
        again = client.get(f"/static/{name}", headers={"If-None-Match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert client.get(f"/static/{name}", headers={"If-None-Match": '"x"'}).status_code == 200
    assert client.head(f"/static/{name}").headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    "path",
    ["/static/", "/static/none.js", "/static/..%2Fapp.py", "/static/../app.py", "/static/%00"],
)
def test_no_other_files_are_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_page_loads_only_files_that_exist_here() -> None:
    for name, content in FILES.items():
        text = content.decode()
        loaded = re.findall(r'(?:src|href)="/static/([^"]*)"|from "\./([^"]*)"', text)
        assert {first or second for first, second in loaded} <= FILES.keys(), name
        foreign = re.findall(r"https?://[^\s\"']*", text)
        assert set(foreign) <= {"http://www.w3.org/2000/svg"}, name


def test_the_page_preloads_every_module() -> None:
    page = FILES["index.html"].decode()
    named = re.findall(
        r'<(?:link rel="modulepreload" href|script type="module" src)="/static/', page
    )
    modules = {name for name in FILES if name.endswith(".js")}
    assert set(re.findall(r'"/static/([^"]*\.js)"', page)) == modules
    assert len(named) == len(modules)


def test_no_script_turns_data_into_markup_or_code() -> None:
    script = "".join(content.decode() for name, content in FILES.items() if name[-3:] == ".js")
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "import(",
    ):
        assert way not in script
    page = FILES["index.html"].decode()
    assert re.findall(r"\s(on\w+|style)=|<style|<script(?![^>]*\ssrc=)", page) == []


def test_the_page_is_not_in_the_openapi_description() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    assert [path for path in paths if path == "/" or path.startswith("/static")] == []
