"""The bill against the buckets, hour by hour and to the unit."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from examples.billing.buckets import Api
from examples.billing.ledger import Ledger, Place

_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True, slots=True)
class Difference:
    """One hour and event type of a customer that is billed otherwise than it is counted."""

    place: Place
    billed: int
    counted: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was compared: `hours` are those with units on either side."""

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
        before: Only hours that begin before this one, written as places have them; None is all.
        patience_seconds: How long to look again at customers that differ: the bill and the counts
            follow the same bus, each at its own pace.
        is_taking_voided: Take events that were voided out of the bill, where it has more than is
            counted.

    Raises:
        StoreUnavailable: The API or the database did not answer.
    """
    deadline = time.monotonic() + patience_seconds
    names = sorted({*ledger.customers(), *api.customers()})
    hours: dict[str, int] = {}
    units: dict[str, int] = {}
    found: dict[str, list[Difference]] = {}
    open_names = names
    while True:
        for name in open_names:
            billed, counted = _both(ledger, api, name, before)
            found[name] = _differences(billed, counted)
            if is_taking_voided and _take_voided(ledger, api, found[name]):
                billed, counted = _both(ledger, api, name, before)
                found[name] = _differences(billed, counted)
            hours[name] = len({place.hour for place in (*billed, *counted)})
            units[name] = sum(billed.values())
        open_names = [name for name in names if found[name]]
        if not open_names or time.monotonic() >= deadline:
            break
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    differences = tuple(each for name in names for each in found[name])
    return Reconciliation(len(names), sum(hours.values()), sum(units.values()), differences)


def _both(
    ledger: Ledger, api: Api, name: str, before: str | None
) -> tuple[dict[Place, int], dict[Place, int]]:
    billed, counted = (
        {place: units for place, units in each.items() if before is None or place.hour < before}
        for each in (ledger.units(name), api.units(name))
    )
    return billed, counted


def _differences(billed: dict[Place, int], counted: dict[Place, int]) -> list[Difference]:
    return [
        Difference(place, billed.get(place, 0), counted.get(place, 0))
        for place in sorted(billed.keys() | counted.keys())
        if billed.get(place, 0) != counted.get(place, 0)
    ]


def _take_voided(ledger: Ledger, api: Api, differences: Iterable[Difference]) -> int:
    """How many units it took out of the bill."""
    return sum(
        ledger.void(api.voided(each.place)) for each in differences if each.billed > each.counted
    )
