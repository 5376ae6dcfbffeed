"""The OpenAPI description: error answers of routes, and what FastAPI describes wrongly."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from events.api.problems import MEDIA_TYPE, TITLE_OF, FieldProblem, Problem, problem

_EXAMPLE_FIELD = FieldProblem(field="start", detail="is missing")


class DescribedAPI(FastAPI):
    """
    FastAPI whose description has no 422 and no null parameters, which this service never uses.

    `models` are bodies that routes read or write themselves, so that FastAPI does not see them.
    """

    models: tuple[type[BaseModel], ...] = ()

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            _correct(super().openapi(), (*self.models, Problem))
        return super().openapi()


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its OpenAPI description."""
    return {status.value: _description(status) for status in statuses}


def route_errors(*more: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route with `allowed`: those that it may always give, and `more`."""
    return responses(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.TOO_MANY_REQUESTS,
        *more,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _description(status: HTTPStatus) -> dict[str, Any]:
    example = problem(status)
    if status is HTTPStatus.BAD_REQUEST:
        example = problem(status, "start: is missing", errors=[_EXAMPLE_FIELD])
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": TITLE_OF[status],
        "content": {MEDIA_TYPE: {"schema": schema, "example": json.loads(bytes(example.body))}},
    }


def _correct(document: dict[str, Any], models: tuple[type[BaseModel], ...]) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            for parameter in operation.get("parameters", []):
                schema = parameter["schema"]
                for option in schema.pop("anyOf", []):
                    if option != {"type": "null"}:
                        schema |= option
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for model in models:
        own = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(own.pop("$defs", {}))
        schemas[model.__name__] = own
