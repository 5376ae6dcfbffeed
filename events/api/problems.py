"""Every error answer: one body shape, one table from error to status."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from events.auth.keyring import NO_GOOD_KEY
from events.errors import (
    ChangesForgotten,
    EventsError,
    InvalidEvent,
    InvalidInput,
    InvalidWindow,
    NotAllowed,
    NotAuthenticated,
    StoreRefused,
    StoreUnavailable,
    TooManyRequests,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1

#: The status of each error; a class that is not here has that of its base.
STATUS_OF: dict[type[EventsError], HTTPStatus] = {
    EventsError: HTTPStatus.INTERNAL_SERVER_ERROR,
    InvalidEvent: HTTPStatus.BAD_REQUEST,
    InvalidWindow: HTTPStatus.BAD_REQUEST,
    ChangesForgotten: HTTPStatus.GONE,
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_TITLE_OF = {
    HTTPStatus.BAD_REQUEST: "The request is wrong",
    HTTPStatus.UNAUTHORIZED: "A good API key is needed",
    HTTPStatus.FORBIDDEN: "This API key has no right to that",
    HTTPStatus.NOT_FOUND: "There is nothing here",
    HTTPStatus.METHOD_NOT_ALLOWED: "This method is not allowed here",
    HTTPStatus.GONE: "That is not known any more",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "This content is not understood",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something is wrong on our side",
    HTTPStatus.SERVICE_UNAVAILABLE: "The store does not answer",
}


# What the store itself says is for the log: it may name tables, hosts and keys.
_DETAIL_OF = {
    HTTPStatus.INTERNAL_SERVER_ERROR: "the service failed; its log says why",
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "the store did not answer in time: send the same again, that is safe"
    ),
}
# Of what else an error says, for its description.
_EXAMPLE_OF = {
    HTTPStatus.UNAUTHORIZED: NO_GOOD_KEY,
    HTTPStatus.FORBIDDEN: "this API key has no right to read",
    HTTPStatus.GONE: str(ChangesForgotten(datetime(2026, 11, 25, tzinfo=UTC))),
    HTTPStatus.REQUEST_TIMEOUT: "the body did not arrive within 30 s",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "a request may have 1,000 events, and this one has 1,001"
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("send JSON, and the header Content-Type: application/json"),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "no more requests with one API key than 1000/second: wait as long as Retry-After says"
    ),
}
_FIELD_EXAMPLE = {
    "field": "start",
    "detail": "'10' is not an ISO 8601 date and time like 2021-03-01T00:00:00Z",
}


class FieldProblem(BaseModel):
    """One thing that is wrong, and where."""

    field: str = Field(examples=[_FIELD_EXAMPLE["field"]])
    detail: str = Field(examples=[_FIELD_EXAMPLE["detail"]])


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem]


class InvalidRequest(EventsError):
    """A request is wrong before any use case is asked."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.problem = FieldProblem(field=field, detail=reason)


class TooLarge(EventsError):
    """A request goes over a limit: send less at a time."""


class UnsupportedContent(EventsError):
    """A body is of a kind that is not understood."""


class BodyTooSlow(EventsError):
    """A body did not arrive in time."""


class Busy(EventsError):
    """This process has as much to do as it may have; nothing was done of the request."""

    title = "The server is busy"


STATUS_OF |= {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedContent: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    BodyTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
}


def _body(
    status: HTTPStatus, detail: str, errors: list[FieldProblem], title: str | None = None
) -> Problem:
    # A type has one title (RFC 9457, section 3.1.3).
    kind = (title or status.phrase).lower().replace(" ", "-")
    return Problem(
        type=f"urn:events:problem:{kind}",
        title=title or _TITLE_OF.get(status, status.phrase),
        status=status,
        detail=detail,
        errors=errors,
    )


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    errors: list[FieldProblem] | None = None,
    title: str | None = None,
    retry_after_seconds: int = RETRY_AFTER_SECONDS,
) -> Response:
    """
    An error answer; one that a later try may mend says when to try.

    Args:
        title: In place of that of the status, for another kind of problem.
    """
    headers = {}
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers["Retry-After"] = str(retry_after_seconds)
    elif status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    elif status is HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"
    body = _body(status, detail, errors or [], title)
    return Response(body.model_dump_json(), status, headers, MEDIA_TYPE)


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its OpenAPI description."""
    return {status.value: _described(status) for status in statuses}


def _described(status: HTTPStatus) -> dict[str, Any]:
    errors = []
    detail = _DETAIL_OF.get(status) or _EXAMPLE_OF.get(status, "")
    if status is HTTPStatus.BAD_REQUEST:
        errors = [FieldProblem(**_FIELD_EXAMPLE)]
        detail = ": ".join(_FIELD_EXAMPLE.values())
    return {
        "description": _TITLE_OF[status],
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": _body(status, detail, errors).model_dump(),
            }
        },
    }


def install(app: FastAPI, bodies: Sequence[type[BaseModel]] = ()) -> None:
    """
    Make every error of an app answer with a problem, and its description say so.

    Args:
        bodies: Models of bodies that the routes read or write themselves.
    """
    app.add_exception_handler(ClientDisconnect, _of_disconnect)
    app.add_exception_handler(EventsError, _of_events_error)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http_exception)
    app.add_exception_handler(Exception, _of_mistake)
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _correct(describe(), [*bodies, Problem])
        return describe()

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI's guide "Extending OpenAPI" does


def _correct(document: dict[str, Any], models: Sequence[type[BaseModel]]) -> None:
    """
    Take out what FastAPI describes and this service never does; add these models.

    It never answers 422, and in an address there is no null: a parameter is there or absent.
    """
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


def _of_events_error(_: Request, exc: Exception) -> Response:
    status = next(STATUS_OF[cls] for cls in type(exc).__mro__ if cls in STATUS_OF)
    if status in _DETAIL_OF and not isinstance(exc, Busy):
        log.error("%s: %s", type(exc).__name__, exc)
        return problem(status, _DETAIL_OF[status])
    errors = []
    if isinstance(exc, InvalidRequest):
        errors = [exc.problem]
    elif isinstance(exc, InvalidWindow) and exc.parameter:
        errors = [FieldProblem(field=exc.parameter, detail=exc.reason)]
    elif isinstance(exc, InvalidEvent) and exc.field:
        errors = [FieldProblem(field=exc.field, detail=exc.reason)]
    detail = "; ".join(f"{each.field}: {each.detail}" for each in errors) or str(exc)
    wait = exc.retry_after_seconds if isinstance(exc, TooManyRequests) else RETRY_AFTER_SECONDS
    title = Busy.title if isinstance(exc, Busy) else None
    return problem(status, detail, errors=errors, retry_after_seconds=wait, title=title)


def _of_validation(_: Request, exc: Exception) -> Response:
    errors = []
    for error in exc.errors() if isinstance(exc, RequestValidationError) else []:
        place, *names = error["loc"]
        # Not the place in a repeated parameter.
        field = ".".join(name for name in names if isinstance(name, str)) or str(place)
        errors.append(FieldProblem(field=field, detail=_in_our_words(error)))
    detail = "; ".join(f"{each.field}: {each.detail}" for each in errors)
    return problem(HTTPStatus.BAD_REQUEST, detail, errors=errors)


def _in_our_words(error: dict[str, Any]) -> str:
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is no parameter of this address"
        case "value_error":
            return str(error["ctx"]["error"])
    text = str(error["msg"])
    return text[:1].lower() + text[1:]


def _of_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - it was installed for this class
    status = HTTPStatus(exc.status_code)
    detail = "no such address; /openapi.json lists all" if status == 404 else str(exc.detail)
    answer = problem(status, detail)
    answer.headers.update(exc.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(_methods_of(request))
    return answer


def _methods_of(request: Request) -> list[str]:
    """What an address allows; the framework names only the methods of the first route there."""
    return sorted(
        {
            method
            for route in iter_route_contexts(request.app.routes)
            if route.path and compile_path(route.path)[0].match(request.scope["path"])
            for method in route.methods or ()
        }
    )


def _of_disconnect(_: Request, __: Exception) -> Response:
    # Nobody reads it.
    return problem(HTTPStatus.BAD_REQUEST, "the client went away")


def _of_mistake(_: Request, exc: Exception) -> Response:
    log.error("a mistake of ours", exc_info=exc)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return problem(status, _DETAIL_OF[status])
