"""The API as a client sees it: customers, their buckets by event type, their voided events."""

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
from examples.billing.ledger import Place

_TIMEOUT_SECONDS = 60
_HOUR = timedelta(hours=1)
#: The last instant that there is; its hour is whole to any event.
_ALL_TIME = {"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59.999999Z"}


class Api:
    """
    Args:
        url: Of the service, such as `http://localhost:8800`.
        key: An API key with the right `read`, for all customers; empty where keys are off.
    """

    def __init__(self, url: str, *, key: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidInput(f"{url!r} is no address like http://localhost:8800")
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def customers(self) -> list[str]:
        """All customers that ever sent an event."""
        pages = self._pages("/events/customers", {"limit": "1000"})
        return [each["customer_id"] for page in pages for each in page["customers"]]

    def units(self, customer_id: str) -> dict[Place, int]:
        """All that is counted of a customer; places without events are absent."""
        path = f"/events/customers/{quote(customer_id, safe='')}/buckets"
        asked = {**_ALL_TIME, "group_by": "event_type", "limit": "10000"}
        return {
            Place(customer_id, bucket["ts_start_of_hour"], event_type): units
            for page in self._pages(path, asked)
            for bucket in page["buckets"]
            for event_type, units in bucket["counts"].items()
            if units
        }

    def voided(self, place: Place) -> list[Event]:
        """The events of an hour and type that were taken out of the counts."""
        start = parse_timestamp(place.hour)
        path = f"/events/customers/{quote(place.customer_id, safe='')}/events"
        asked = {
            "start": place.hour,
            "end": format_timestamp(start + _HOUR),
            "event_type": place.event_type,
            "limit": "1000",
        }
        return [
            parse_event(
                each["customer_id"], each["event_type"], each["transaction_id"], each["timestamp"]
            )
            for page in self._pages(path, asked)
            for each in page["events"]
            if each["voided_at"] is not None
        ]

    def _pages(self, path: str, asked: dict[str, str]) -> Iterator[Any]:
        page = self._get(f"{path}?{urlencode(asked)}")
        yield page
        while page["next"] is not None:
            page = self._get(f"{path}?{urlencode({**asked, 'cursor': page['next']})}")
            yield page

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(self._url + path, headers=self._headers)  # noqa: S310 - http or https, see above
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            exc.close()
            kind = StoreUnavailable if exc.code in (429, 503) else StoreRefused
            raise kind(f"the API answered {exc.code} to GET {path}") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise StoreUnavailable(f"no API answers at {self._url}: {type(exc).__name__}") from exc
        except ValueError as exc:
            raise StoreRefused(f"what answers at {self._url} is no such API") from exc
