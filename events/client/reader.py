"""Requests to the HTTP API, and counts read with them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit


class Bucket(NamedTuple):
    """The events of one hour, day, week or month; `is_partial` if the range covers part of it."""

    start: datetime
    count: int  # type: ignore[assignment] # hides tuple.count, which a bucket does not need
    is_partial: bool


class RequestFailed(Exception):
    """The API answered with an error; `status` is its HTTP status."""

    def __init__(self, status: int, body: bytes, retry_after: str = "") -> None:
        try:
            problem = json.loads(body)
            detail, self.errors = str(problem["detail"]), list(problem["errors"])
        except (ValueError, TypeError, KeyError):  # not our API: a proxy, or a wrong address
            detail, self.errors = body[:200].decode(errors="replace"), []
        super().__init__(f"HTTP {status}: {detail}")
        self.status = status
        self.retry_after_seconds = int(retry_after) if retry_after.isdecimal() else 0


class Reader:
    """
    Reads counts.

    Args:
        url: Address of the API, such as `https://events.example.com`.
        key: An API key, if the API needs one.
        timeout_seconds: How long the API may be silent during a request.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout_seconds: float = 30.0) -> None:
        self._url = urlsplit(url.rstrip("/"))
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise ValueError(f"{url!r} is not an address like https://events.example.com")
        self._headers = {"Content-Type": "application/json", "User-Agent": "events-client"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._timeout_seconds = timeout_seconds

    def buckets(
        self,
        customer_id: str,
        start: datetime,
        end: datetime,
        *,
        window: str = "hour",
        timezone: str | None = None,
        event_types: Sequence[str] = (),
    ) -> Iterator[Bucket]:
        """
        The buckets with events in `[start, end)`, ascending; both with a time zone.

        Raises:
            RequestFailed: The API refuses the question, or its store is down.
            OSError: The API does not answer.
        """
        query = {"window": window, "timezone": timezone, "event_type": event_types}
        for page in self._pages(customer_id, start, end, query):
            for bucket in page["buckets"]:
                at = datetime.fromisoformat(bucket.get("ts_start_of_hour") or bucket["start"])
                yield Bucket(at, bucket["count"], bucket["partial"])

    def count(
        self, customer_id: str, start: datetime, end: datetime, *, event_types: Sequence[str] = ()
    ) -> int:
        """The number of events in `[start, end)`; raises like `buckets`."""
        query = {"event_type": event_types, "limit": 1}
        return int(next(self._pages(customer_id, start, end, query))["total"])

    def _pages(
        self, customer_id: str, start: datetime, end: datetime, query: dict[str, Any]
    ) -> Iterator[Any]:
        query = {"start": start.isoformat(), "end": end.isoformat(), **query}
        given = {name: value for name, value in query.items() if value is not None}
        path = f"/events/customers/{quote(customer_id, safe='')}/buckets"
        page: dict[str, Any] = {"next": ""}
        while page["next"] is not None:
            page = self.request("GET", f"{path}?{urlencode(given, doseq=True)}")
            yield page
            given["cursor"] = page["next"]

    def request(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Send one request; returns the JSON of the answer."""
        is_tls = self._url.scheme == "https"
        make = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = make(self._url.netloc, timeout=self._timeout_seconds)
        try:
            connection.request(method, self._url.path + path, body, self._headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status not in (200, 202, 207):
            raise RequestFailed(response.status, text, response.headers.get("Retry-After", ""))
        return json.loads(text)
