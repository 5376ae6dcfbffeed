"""Query a running service about resources/events.csv, and check its answers."""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

_SAMPLE = Path(__file__).parent / "resources" / "events.csv"
_HOUR = timedelta(hours=1)

#: Status and body of a response.
Answer = tuple[int, Any]
Event = tuple[str, str, str, datetime]


class Check(NamedTuple):
    """A request, and a function that checks the answer."""

    title: str
    path: str
    is_right: Callable[[Answer], bool]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if every answer is right, 1 if one is wrong, 2 if the service does not answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8800", help="address of the service")
    options = parser.parse_args(arguments)
    events = read_sample()
    try:
        wrong = [check for check in _checks(events) if not _run(options.url, check)]
    except (OSError, ValueError, http.client.HTTPException) as exc:
        print(
            f"error: no service answers at {options.url} ({exc}). Start it: make run",
            file=sys.stderr,
        )
        return 2
    print(f"\n{len(wrong)} wrong answers" if wrong else "\nAll answers are right.")
    return 1 if wrong else 0


def read_sample() -> set[Event]:
    """The distinct events of the sample, read without code of this project."""
    with _SAMPLE.open(encoding="utf-8", newline="") as file:
        return {
            (
                row["customer_id"],
                row["event_type"],
                row["transaction_id"],
                datetime.fromisoformat(row["timestamp"]).astimezone(UTC),
            )
            for row in csv.DictReader(file)
        }


def expected(
    events: set[Event], customer_id: str, start: datetime, end: datetime
) -> dict[str, int]:
    """The number of events in `[start, end)` by start of the hour, counted one by one."""
    return Counter(
        at.strftime("%Y-%m-%dT%H:00:00.000000Z")
        for customer, _, _, at in events
        if customer == customer_id and start <= at < end
    )


def _checks(events: set[Event]) -> list[Check]:
    customer_id, _ = Counter(event[0] for event in events).most_common(1)[0]
    first = min(event[3] for event in events if event[0] == customer_id)
    hour = first.replace(minute=0, second=0, microsecond=0) + 10 * _HOUR
    march, april = datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 4, 1, tzinfo=UTC)
    clip = timedelta(minutes=20)

    def counts(title: str, start: datetime, end: datetime) -> Check:
        right = expected(events, customer_id, start, end)

        def is_right(answer: Answer) -> bool:
            status, body = answer
            counts = {item["ts_start_of_hour"]: item["count"] for item in body.get("buckets", [])}
            return status == 200 and counts == right and body["total"] == sum(right.values())

        return Check(title, _buckets_path(customer_id, start, end), is_right)

    totals = Counter(event[0] for event in events)

    def lists_all(answer: Answer) -> bool:
        listed = {item["customer_id"]: item["total"] for item in answer[1].get("customers", [])}
        return answer[0] == 200 and listed.items() >= totals.items()

    return [
        Check("Is it ready?", "/readyz", lambda answer: answer[0] == 200),
        Check("Which customers are there?", "/events/customers?limit=1000", lists_all),
        counts("All of March", march, april),
        counts("One hour", hour, hour + _HOUR),
        counts("One day, clipped at both ends", hour + clip, hour + 24 * _HOUR + 2 * clip),
        counts("Twenty minutes inside one hour", hour + clip, hour + 2 * clip),
        counts("Thirty years", datetime(2000, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)),
        Check(
            "An unknown customer has no events",
            _buckets_path("nobody", march, april),
            lambda answer: answer[0] == 200 and answer[1]["buckets"] == [],
        ),
        Check(
            "A bad request is answered with its errors",
            f"/events/customers/{customer_id}/buckets?start=yesterday&end=2021-04-01",
            lambda answer: answer[0] == 400 and answer[1]["errors"][0]["field"] == "start",
        ),
    ]


def _buckets_path(customer_id: str, start: datetime, end: datetime) -> str:
    query = urllib.parse.urlencode(
        {"start": start.isoformat(), "end": end.isoformat(), "limit": 10_000}
    )
    return f"/events/customers/{urllib.parse.quote(customer_id, safe='')}/buckets?{query}"


def _run(url: str, check: Check) -> bool:
    begin = time.monotonic()
    status, body = _get(url + check.path)
    milliseconds = (time.monotonic() - begin) * 1_000
    is_right = check.is_right((status, body))
    print(f"\n{check.title}\n  GET {check.path}")
    print(f"  {status} in {milliseconds:.0f} ms: {_in_short(body)}")
    print("  right" if is_right else "  WRONG: resources/events.csv has other numbers")
    return is_right


def _get(url: str) -> Answer:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - the address that the user gave
            return response.status, json.load(response)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc)


def _in_short(body: dict[str, Any]) -> str:
    """The beginning of a body; the whole may have thousands of buckets."""
    buckets = [
        f"{item['ts_start_of_hour'][:13]}h {item['count']}" for item in body.get("buckets", [])
    ]
    customers = [f"{item['customer_id']} {item['total']:,}" for item in body.get("customers", [])]
    items = buckets or customers or [str(body.get("detail", body))]
    return ", ".join(items[:3]) + f", … ({len(items):,} in all)" * (len(items) > 3)


if __name__ == "__main__":
    sys.exit(main())
