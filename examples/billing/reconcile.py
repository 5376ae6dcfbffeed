"""Compares the bill with the API, hour by hour and to the unit."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from examples.billing.api import Api
from examples.billing.ledger import Ledger, UsageKey

_SECONDS_BETWEEN_COMPARISONS = 1.0


@dataclass(frozen=True, slots=True)
class Difference:
    """An hour and event type of a customer for which bill and API differ."""

    key: UsageKey
    billed: int
    counted: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Result; `hours` are those with units on either side."""

    customers: int
    hours: int
    units: int
    differences: tuple[Difference, ...]


def reconcile(
    ledger: Ledger,
    api: Api,
    *,
    before: str | None = None,
    patience_seconds: float,
    is_taking_voided: bool,
) -> Reconciliation:
    """
    Compare every hour of every customer that either side knows.

    Args:
        before: Only hours that start before this one, in the format of the API; None is all.
        patience_seconds: How long to compare customers that differ again: the bill and the counts
            follow the same topic, each at its own pace.
        is_taking_voided: Remove voided events from the bill where it has more than the API.

    Raises:
        StoreUnavailable: The API or the database did not answer.
    """
    deadline = time.monotonic() + patience_seconds
    names = sorted({*ledger.customers(), *api.customers()})
    hours: dict[str, int] = {}
    units: dict[str, int] = {}
    differences: dict[str, list[Difference]] = {}
    unequal = names
    while True:
        for name in unequal:
            billed, counted = _both(ledger, api, name, before)
            differences[name] = _differences(billed, counted)
            if is_taking_voided and _take_voided(ledger, api, differences[name]):
                billed, counted = _both(ledger, api, name, before)
                differences[name] = _differences(billed, counted)
            hours[name] = len({key.hour for key in (*billed, *counted)})
            units[name] = sum(billed.values())
        unequal = [name for name in names if differences[name]]
        if not unequal or time.monotonic() >= deadline:
            break
        time.sleep(_SECONDS_BETWEEN_COMPARISONS)
    return Reconciliation(
        len(names),
        sum(hours.values()),
        sum(units.values()),
        tuple(one for name in names for one in differences[name]),
    )


def _both(
    ledger: Ledger, api: Api, name: str, before: str | None
) -> tuple[dict[UsageKey, int], dict[UsageKey, int]]:
    billed, counted = (
        {key: number for key, number in units.items() if before is None or key.hour < before}
        for units in (ledger.units(name), api.units(name))
    )
    return billed, counted


def _differences(billed: dict[UsageKey, int], counted: dict[UsageKey, int]) -> list[Difference]:
    return [
        Difference(key, billed.get(key, 0), counted.get(key, 0))
        for key in sorted(billed.keys() | counted.keys())
        if billed.get(key, 0) != counted.get(key, 0)
    ]


def _take_voided(ledger: Ledger, api: Api, differences: Iterable[Difference]) -> int:
    """Remove voided events from the bill; returns the number of units."""
    return sum(ledger.void(api.voided(one.key)) for one in differences if one.billed > one.counted)
