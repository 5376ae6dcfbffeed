"""Faults on the line between a store and DynamoDB."""

from __future__ import annotations

import io
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.httpsession import URLLib3Session

# --- the faults -----------------------------------------------------------------------------------

Send = Callable[[AWSPreparedRequest], AWSResponse]
#: Answers in place of DynamoDB; None means that the fault does not apply to this request.
Fault = Callable[[AWSPreparedRequest, Send], AWSResponse | None]


class Body(io.BytesIO):
    """A response body, as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def answer(request: AWSPreparedRequest, status: int, body: bytes, kind: str) -> AWSResponse:
    headers = {"content-type": kind, "content-length": str(len(body))}
    return AWSResponse(request.url, status, headers, Body(body))  # type: ignore[arg-type] # as moto


def body_of(request: AWSPreparedRequest) -> dict[str, Any]:
    assert isinstance(request.body, bytes)
    fields: dict[str, Any] = json.loads(request.body)
    return fields


def error(
    request: AWSPreparedRequest, code: str, *, status: int = 400, **more: object
) -> AWSResponse:
    fields = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "injected", **more}
    return answer(request, status, json.dumps(fields).encode(), "application/x-amz-json-1.0")


def error_instead(code: str, status: int = 400) -> Fault:
    return lambda request, _: error(request, code, status=status)


def cancelled(request: AWSPreparedRequest, reasons: Sequence[str]) -> AWSResponse:
    listed = [{"Code": reason, "Message": "injected"} for reason in reasons]
    return error(request, "TransactionCanceledException", CancellationReasons=listed)


def conflict(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    """Every action but the first conflicts with another transaction."""
    number = len(body_of(request)["TransactItems"])
    return cancelled(request, ["None", *["TransactionConflict"] * (number - 1)])


def mixed_reasons(request: AWSPreparedRequest, send: Send) -> AWSResponse | None:
    """Real duplicates; the other actions report conflicts and throttles."""
    response = send(request)
    if response.status_code == 200:
        return None
    reasons = json.loads(response.content)["CancellationReasons"]
    assert {reason["Code"] for reason in reasons} == {"None", "ConditionalCheckFailed"}
    others = iter(["TransactionConflict", "ThrottlingError"] * len(reasons))
    mixed = [{"Code": next(others)} if reason["Code"] == "None" else reason for reason in reasons]
    return error(request, "TransactionCanceledException", CancellationReasons=mixed)


def timeout(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    raise ReadTimeoutError(endpoint_url=request.url, error="injected")


def connect_timeout(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    raise ConnectTimeoutError(endpoint_url=request.url, error="injected")


def reset(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    raise ConnectionClosedError(endpoint_url=request.url, error="injected")


def no_route(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    raise EndpointConnectionError(endpoint_url=request.url, error="injected")


#: Not UTF-8.
LATIN = "<html>occupé</html>".encode("latin-1")


def html(
    request: AWSPreparedRequest, _: Send, *, status: int, body: bytes = b"<html>busy</html>"
) -> AWSResponse:
    """A page of a proxy or a load balancer."""
    return answer(request, status, body, "text/html")


def after_commit(fault: Fault) -> Fault:
    """The request is carried out, but its answer is lost."""

    def strike(request: AWSPreparedRequest, send: Send) -> AWSResponse | None:
        response = send(request)
        # A cancelled transaction did nothing: let its answer through.
        return response if response.status_code != 200 else fault(request, send)

    return strike


PASSING: dict[str, Fault] = {
    "throttled": error_instead("ProvisionedThroughputExceededException"),
    "throttled by the control plane": error_instead("ThrottlingException"),
    "too many requests": error_instead("RequestLimitExceeded"),
    "internal error": error_instead("InternalServerError", 500),
    "unavailable": error_instead("ServiceUnavailable", 503),
    "connection reset": reset,
    "no connection": no_route,
    "connect timeout": connect_timeout,
    "timeout": timeout,
    "garbled 500": partial(html, status=500),
    "garbled 502": partial(html, status=502, body=LATIN),
    "garbled 503": partial(html, status=503, body=b""),
}
IN_PROGRESS = error_instead("TransactionInProgressException")
LOST_ANSWERS: dict[str, Fault] = {
    "timeout after the commit": after_commit(timeout),
    "connection reset after the commit": after_commit(reset),
    "internal error after the commit": after_commit(error_instead("InternalServerError", 500)),
    "garbled 500 after the commit": after_commit(partial(html, status=500)),
    "in progress after the commit": after_commit(IN_PROGRESS),
}
#: Faults of writes that end by themselves.
PASSING_OF_WRITES: dict[str, Fault] = {
    **PASSING,
    **LOST_ANSWERS,
    "conflict": conflict,
    "in progress": IN_PROGRESS,
    "conflict among duplicates": mixed_reasons,
}


#: Answers with status 200 that DynamoDB did not send.
GARBLED: dict[str, Fault] = {
    "proxy page": partial(html, status=200),
    "page that is not UTF-8": partial(html, status=200, body=LATIN),
    "empty body": partial(html, status=200, body=b""),
    "truncated answer": partial(html, status=200, body=b'{"ConsumedCapacity": [{"Tab'),
    "JSON of another server": partial(html, status=200, body=b'{"status": "UP"}'),
}


# --- the line where they strike -------------------------------------------------------------------


@dataclass
class Line:
    """
    The line between a client and its database, for some operations.

    Args:
        faults: Faults that may strike, in turn.
        chance: Probability that a request is struck.
        strikes: After this many, requests pass.
    """

    faults: dict[str, Fault] = field(default_factory=dict)
    chance: float = 1.0
    strikes: float = float("inf")
    seed: int = 0
    #: How often each fault struck.
    struck: Counter[str] = field(default_factory=Counter)
    #: The body of each request, as it went out.
    sent: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._lock = threading.Lock()
        # Without Nagle's wait, as botocore's own session.
        self._session = URLLib3Session(
            socket_options=[
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # type: ignore[list-item] # so it is
            ]
        )

    def __call__(self, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        with self._lock:
            self.sent.append(body_of(request))
            is_struck = (
                bool(self.faults)
                and self.struck.total() < self.strikes
                and self._rng.random() < self.chance
            )
            # The fault that struck least is next, so that none is left out.
            name = min(self.faults, key=lambda item: self.struck[item]) if is_struck else ""
        if not is_struck:
            return None
        sent: list[AWSResponse] = []

        def send(request: AWSPreparedRequest) -> AWSResponse:
            sent.append(self._session.send(request))
            return sent[-1]

        try:
            response = self.faults[name](request, send)
        except Exception:
            self._count(name)
            raise
        if response is None:
            return sent[-1]
        if response not in sent:
            self._count(name)
        return response

    def _count(self, name: str) -> None:
        with self._lock:
            self.struck[name] += 1

    def heal(self) -> None:
        self.faults = {}

    def tokens(self) -> list[str]:
        return [item["ClientRequestToken"] for item in self.sent]

    def puts(self) -> list[int]:
        """How many events each request held."""
        return [sum("Put" in item for item in request["TransactItems"]) for request in self.sent]

    def close(self) -> None:
        self._session.close()
