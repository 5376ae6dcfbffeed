"""A client of the API: customers, their hourly counts by event type, their voided events."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from events.domain.parsing import parse_event
from events.domain.timestamps import format_timestamp, parse_timestamp
from events.errors import InvalidInput, StoreRefused, StoreUnavailable
from events.models import Event
from examples.billing.ledger import UsageKey

_TIMEOUT_SECONDS = 60
_HOUR = timedelta(hours=1)
#: Everything; the end is the last possible instant.
_ALL_TIME = {"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59.999999Z"}


class Api:
    """
    Args:
        url: URL of the API, such as `http://localhost:8800`.
        key: An API key with the right `read` for all customers; empty if keys are off.
    """

    def __init__(self, url: str, *, key: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidInput(f"{url!r} is not a URL like http://localhost:8800")
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def customers(self) -> list[str]:
        """All customers that ever sent an event."""
        pages = self._pages("/events/customers", {"limit": "1000"})
        return [one["customer_id"] for page in pages for one in page["customers"]]

    def units(self, customer_id: str) -> dict[UsageKey, int]:
        """All counts of a customer; hours and types without events are absent."""
        path = f"/events/customers/{quote(customer_id, safe='')}/buckets"
        parameters = {**_ALL_TIME, "group_by": "event_type", "limit": "10000"}
        return {
            UsageKey(customer_id, bucket["ts_start_of_hour"], event_type): units
            for page in self._pages(path, parameters)
            for bucket in page["buckets"]
            for event_type, units in bucket["counts"].items()
            if units
        }

    def voided(self, key: UsageKey) -> list[Event]:
        """The voided events of an hour and type."""
        start = parse_timestamp(key.hour)
        path = f"/events/customers/{quote(key.customer_id, safe='')}/events"
        parameters = {
            "start": key.hour,
            "end": format_timestamp(start + _HOUR),
            "event_type": key.event_type,
            "limit": "1000",
        }
        return [
            parse_event(
                one["customer_id"], one["event_type"], one["transaction_id"], one["timestamp"]
            )
            for page in self._pages(path, parameters)
            for one in page["events"]
            if one["voided_at"] is not None
        ]

    def _pages(self, path: str, parameters: dict[str, str]) -> Iterator[Any]:
        page = self._get(f"{path}?{urlencode(parameters)}")
        yield page
        while page["next"] is not None:
            page = self._get(f"{path}?{urlencode({**parameters, 'cursor': page['next']})}")
            yield page

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(self._url + path, headers=self._headers)  # noqa: S310 - http or https only
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            exc.close()
            error = StoreUnavailable if exc.code in (429, 503) else StoreRefused
            raise error(f"the API answered {exc.code} to GET {path}") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise StoreUnavailable(
                f"the API at {self._url} does not answer: {type(exc).__name__}"
            ) from exc
        except ValueError as exc:
            raise StoreRefused(f"the server at {self._url} is not this API") from exc
