"""Every example in the OpenAPI description is a good request, or the answer that it shows."""

from __future__ import annotations

from urllib.parse import quote

from events.config import Settings
from events.errors import StoreUnavailable
from tests.support.api import OUR_FAULT, STORE_DOWN, Api, problem, serving
from tests.support.sqlstore import MemoryStore, SpyStore


def test_examples_of_parameters_are_good_questions(api: Api) -> None:
    document = api.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        if "get" not in operations:
            continue
        query, parts = [], {}
        for parameter in operations["get"].get("parameters", []):
            if (path, parameter["name"]) == ("/events/buckets", "prefix"):
                continue  # in place of `customer_id`
            example = parameter["schema"].get("examples", [None])[0]
            if parameter["in"] == "path":
                parts[parameter["name"]] = quote(str(example), safe="")
            elif example is not None:
                values = example if isinstance(example, list) else [example]
                query += [f"{parameter['name']}={quote(str(value), safe='')}" for value in values]
        response = api.get(f"{path.format(**parts)}?{'&'.join(query)}")
        if path != "/events/changes":  # only recent instants are good, and an example gets old
            assert response.status_code == 200, (path, response.text)


def test_examples_of_bodies_are_accepted(api: Api) -> None:
    bodies = 0
    for path, operations in api.get("/openapi.json").json()["paths"].items():
        if "post" in operations:
            content = operations["post"]["requestBody"]["content"]
            for media_type, described in content.items():
                body = described["example"]
                text = body.encode() if isinstance(body, str) else body
                response = api.post(text, path, Content_Type=media_type)
                assert response.status_code == 200, (path, response.text)
                bodies += 1
    assert bodies == 6


def test_examples_of_errors_are_the_answers(api: Api) -> None:
    path = "/events/customers/{customer_id}/buckets"
    responses = api.get("/openapi.json").json()["paths"][path]["get"]["responses"]
    examples = {
        status: described["content"]["application/problem+json"]["example"]
        for status, described in responses.items()
        # Those of API keys are tested in test_access.py.
        if status not in ("200", "401", "403", "429")
    }

    def fail(method: str) -> None:
        if method != "close":
            raise StoreUnavailable

    with serving(Settings(), SpyStore(MemoryStore(), fail)) as down:
        store_down = problem(down.buckets("start=2021-03-01&end=2021-03-02"))
    assert store_down == STORE_DOWN
    assert examples == {
        "400": problem(api.buckets("end=2021-03-02")),
        "500": OUR_FAULT,
        "503": store_down,
    }
