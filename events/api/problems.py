"""Error answers: one body shape (RFC 9457), and one table from error class to status."""

from __future__ import annotations

import logging
from collections.abc import Sequence
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

from events.errors import (
    ChangesForgotten,
    ClockSkew,
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
TITLE_OF = {
    HTTPStatus.BAD_REQUEST: "Invalid request",
    HTTPStatus.UNAUTHORIZED: "API key required",
    HTTPStatus.FORBIDDEN: "Not allowed",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Method not allowed",
    HTTPStatus.REQUEST_TIMEOUT: "Request body too slow",
    HTTPStatus.GONE: "Cursor expired",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Request too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Unsupported content type",
    HTTPStatus.TOO_MANY_REQUESTS: "Rate limit exceeded",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Internal error",
    HTTPStatus.SERVICE_UNAVAILABLE: "Store not available",
}
#: In place of the store's own message, which may name tables, hosts and keys: that is logged.
_HIDDEN_DETAIL = {
    HTTPStatus.INTERNAL_SERVER_ERROR: "the service failed: see its log",
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "the store did not answer in time: send the same request again, that is safe"
    ),
}
_CLOCK_SKEW = (
    "this server's clock differs too much from the store's: synchronize it (NTP), then send the "
    "same request again, that is safe"
)


class FieldProblem(BaseModel):
    """One invalid field."""

    field: str = Field(examples=["start"])
    detail: str = Field(examples=["is missing"])


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem]


class InvalidRequest(EventsError):
    """A parameter, a header or the body of a request is invalid."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class TooLarge(EventsError):
    """A request exceeds a size limit."""


class UnsupportedContent(EventsError):
    """The content type or encoding of a body is not supported."""


class BodyTooSlow(EventsError):
    """A body did not arrive in time."""


class Busy(EventsError):
    """This process is at a limit; nothing of the request was done."""

    title = "The server is busy"


#: The status of each error. A class that is not listed has the status of its base class.
STATUS_OF: dict[type[EventsError], HTTPStatus] = {
    EventsError: HTTPStatus.INTERNAL_SERVER_ERROR,
    InvalidEvent: HTTPStatus.BAD_REQUEST,
    InvalidWindow: HTTPStatus.BAD_REQUEST,
    InvalidInput: HTTPStatus.BAD_REQUEST,
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    BodyTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    ChangesForgotten: HTTPStatus.GONE,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedContent: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    StoreRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    ClockSkew: HTTPStatus.SERVICE_UNAVAILABLE,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
}


def problem(
    status: HTTPStatus,
    detail: str = "",
    *,
    errors: Sequence[FieldProblem] = (),
    title: str = "",
    retry_after_seconds: int = 1,
) -> Response:
    """
    An error answer with the headers that its status asks for.

    Args:
        detail: Without one, the fixed text for the status.
        title: For a problem other than the usual one with this status; also names its type.
    """
    headers = {}
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers["Retry-After"] = str(retry_after_seconds)
    elif status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    elif status is HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"
    body = Problem(
        type=f"urn:events:problem:{(title or status.phrase).lower().replace(' ', '-')}",
        title=title or TITLE_OF.get(status, status.phrase),
        status=status,
        detail=detail or _HIDDEN_DETAIL.get(status) or TITLE_OF[status],
        errors=list(errors),
    )
    return Response(body.model_dump_json(), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every expected error answer with a problem; `InternalErrors` answers all others."""
    app.add_exception_handler(EventsError, _on_events_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def _on_events_error(_: Request, exc: Exception) -> Response:
    status = next(STATUS_OF[cls] for cls in type(exc).__mro__ if cls in STATUS_OF)
    if isinstance(exc, Busy):
        return problem(status, str(exc), title=Busy.title)
    if isinstance(exc, TooManyRequests):
        return problem(status, str(exc), retry_after_seconds=exc.retry_after_seconds)
    if status in _HIDDEN_DETAIL:
        log.error("%s: %s", type(exc).__name__, exc)
        return problem(status, _CLOCK_SKEW if isinstance(exc, ClockSkew) else "")
    match exc:
        case (
            InvalidRequest(field=str(field), reason=reason)
            | InvalidEvent(field=str(field), reason=reason)
            | InvalidWindow(parameter=str(field), reason=reason)
        ):
            return problem(status, str(exc), errors=[FieldProblem(field=field, detail=reason)])
    return problem(status, str(exc))


def _on_invalid_parameters(_: Request, exc: Exception) -> Response:
    errors = []
    for error in exc.errors() if isinstance(exc, RequestValidationError) else []:
        location, *names = error["loc"]
        # Without the index of a repeated parameter.
        field = ".".join(name for name in names if isinstance(name, str)) or str(location)
        errors.append(FieldProblem(field=field, detail=_message(error)))
    detail = "; ".join(f"{error.field}: {error.detail}" for error in errors)
    return problem(HTTPStatus.BAD_REQUEST, detail, errors=errors)


def _message(error: dict[str, Any]) -> str:
    """Pydantic's message, or a plainer one."""
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "unknown query parameter"
        case "value_error":
            return str(error["ctx"]["error"])
    text = str(error["msg"])
    return text[:1].lower() + text[1:]


def _on_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - it was installed for this class
    status = HTTPStatus(exc.status_code)
    detail = str(exc.detail)
    if status is HTTPStatus.NOT_FOUND:
        detail = "no such path: /openapi.json lists all paths"
    answer = problem(status, detail)
    answer.headers.update(exc.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(_allowed_methods(request))
    return answer


def _allowed_methods(request: Request) -> list[str]:
    """Methods of all routes with this path; Starlette names only those of the first route."""
    methods = {
        method
        for route in iter_route_contexts(request.app.routes)
        if route.path and compile_path(route.path)[0].match(request.scope["path"])
        for method in route.methods or ()
    }
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _on_disconnect(_: Request, __: Exception) -> Response:
    return problem(HTTPStatus.BAD_REQUEST, "the client disconnected")  # nobody reads it
