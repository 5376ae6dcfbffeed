"""The OpenAPI description is complete and correct."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from events.api.problems import Problem
from events.app import create_app
from events.config import Settings
from tests.support.served import as_served

Json = dict[str, Any]

PROBLEM = "application/problem+json"
#: Errors of every route that needs a key.
REFUSALS = ["401", "403", "429"]
BUCKETS = "/events/customers/{customer_id}/buckets"
SUMMARY = "/events/customers/{customer_id}/summary"
EVENTS = "/events/customers/{customer_id}/events"
RECEIPTS = ["200", "207", "400", "401", "403", "408", "413", "415", "429", "500", "503"]


@pytest.fixture
def document() -> Json:
    return create_app(Settings()).openapi()


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    """Every operation, as `get /livez`."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def parts_of(value: object) -> Iterator[Json]:
    """Every object in a document, however deep."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from parts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from parts_of(each)


def test_each_route_documents_its_answers_and_errors(document: Json) -> None:
    assert {name: sorted(item["responses"]) for name, item in operations(document)} == {
        f"get {BUCKETS}": ["200", "400", *REFUSALS, "500", "503"],
        f"get {EVENTS}": ["200", "400", *REFUSALS, "500", "503"],
        f"delete {EVENTS}": ["200", "400", *REFUSALS, "500", "503"],
        f"get {SUMMARY}": ["200", "400", *REFUSALS, "500", "503"],
        "get /events/buckets": ["200", "400", *REFUSALS, "500", "503"],
        "get /events/customers": ["200", "400", *REFUSALS, "500", "503"],
        "get /events/changes": ["200", "400", "401", "403", "410", "429", "500", "503"],
        "post /events": ["200", "202", *RECEIPTS[1:]],
        "post /events/void": RECEIPTS,
        "get /livez": ["200", "400"],
        "get /readyz": ["200", "400", "500", "503"],
        "get /metrics": ["200", "400", *REFUSALS, "500", "503"],
    }


def test_each_documented_error_has_an_example_with_its_status(document: Json) -> None:
    seen = 0
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                continue
            seen += 1
            assert list(response["content"]) == [PROBLEM], (name, status)
            content = response["content"][PROBLEM]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            example = content["example"]
            assert Problem.model_validate(example).model_dump() == example
            assert example["status"] == int(status)
            assert example["title"] == response["description"]
            assert bool(example["errors"]) == (status == "400")
    assert seen == 71


def test_only_routes_that_need_a_key_document_how_to_send_it(
    document: Json,
) -> None:
    for name, operation in operations(document):
        refuses = [item for item in REFUSALS if item in operation["responses"]]
        assert refuses == (REFUSALS if "security" in operation else []), name
        assert operation.get("security", [{"ApiKey": []}]) == [{"ApiKey": []}], name
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert scheme["description"]


def test_fastapi_s_422_is_not_described(document: Json) -> None:
    text = json.dumps(document)
    for absent in ('"422"', "HTTPValidationError", "ValidationError"):
        assert absent not in text


def test_every_parameter_has_a_description_and_an_example(document: Json) -> None:
    lacking = [
        (name, parameter["name"], what)
        for name, operation in operations(document)
        for parameter in operation.get("parameters", [])
        for what, has in (
            ("description", parameter.get("description")),
            ("example", parameter["schema"].get("examples") or parameter.get("examples")),
        )
        if not has
    ]
    assert lacking == []


def test_parameters_have_bounds_and_are_never_null(document: Json) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            where, schema = f"{name} {parameter['name']}", parameter["schema"]
            assert '"null"' not in json.dumps(schema), where
            assert "anyOf" not in schema, where
            if schema["type"] == "integer":
                assert schema["minimum"] == 1, where
                assert schema["maximum"] in (1_000, 10_000), where


def test_the_parameters_of_each_route(document: Json) -> None:
    assert {
        name: [item["name"] for item in operation.get("parameters", [])]
        for name, operation in operations(document)
    } == {
        f"get {BUCKETS}": [
            "customer_id", "start", "end", "window", "timezone", "event_type", "group_by", "fill",
            "limit", "format", "cursor",
        ],
        "get /events/buckets": [
            "start", "end", "window", "timezone", "event_type", "group_by", "fill", "limit",
            "format", "customer_id", "prefix", "cursor",
        ],
        f"get {EVENTS}": [
            "customer_id", "start", "end", "event_type", "transaction_id", "order", "limit",
            "cursor",
        ],
        f"delete {EVENTS}": ["customer_id"],
        f"get {SUMMARY}": ["customer_id", "start", "end"],
        "get /events/customers": ["start", "end", "prefix", "limit", "cursor"],
        "get /events/changes": ["since", "limit"],
        "post /events": [
            "columns", "delimiter", "timestamp_format", "assume_timezone", "ambiguous_hour",
        ],
        "post /events/void": [],
        "get /livez": [],
        "get /readyz": [],
        "get /metrics": [],
    }  # fmt: skip


def test_every_operation_and_schema_has_a_description(document: Json) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        media_type = "text/plain" if name == "get /metrics" else "application/json"
        assert media_type in operation["responses"]["200"]["content"], name
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name


def test_every_reference_exists_and_every_schema_is_used(document: Json) -> None:
    references = {part["$ref"] for part in parts_of(document) if "$ref" in part}
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references == schemas


def test_operation_ids_are_unique(document: Json) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names) == 12


def test_all_fields_of_a_problem_are_required(document: Json) -> None:
    assert document["components"]["schemas"]["Problem"]["required"] == [
        "type",
        "title",
        "status",
        "detail",
        "errors",
    ]


def test_the_description_is_served() -> None:
    client = TestClient(as_served(create_app(Settings())))
    first, second = client.get("/openapi.json"), client.get("/openapi.json")
    assert first.json() == second.json() == create_app(Settings()).openapi()
    assert first.json()["openapi"].startswith("3.")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_pages_that_load_scripts_from_other_hosts_are_off(path: str) -> None:
    response = TestClient(as_served(create_app(Settings()))).get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)
