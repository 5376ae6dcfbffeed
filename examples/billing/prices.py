"""Reads the price table: a TOML file with decimals."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from events.errors import InvalidInput

_MAX_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Prices:
    """
    Args:
        decimals: Decimal places of an amount, such as 2 for cents.
        by_type: Event type → price of one event.
    """

    currency: str
    decimals: int
    by_type: Mapping[str, Decimal]


def read_prices(path: Path) -> Prices:
    """
    Read a file like `prices.toml` beside this module.

    Raises:
        InvalidInput: The file cannot be read, or names the invalid entry.
    """
    try:
        # A float would only be close to the price.
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise InvalidInput(f"{path}: {exc}") from exc
    currency, decimals = document.get("currency"), document.get("decimals", 2)
    prices = document.get("prices")
    if not isinstance(currency, str) or not currency:
        raise InvalidInput(f'{path}: currency is missing: write currency = "EUR"')
    if type(decimals) is not int or not 0 <= decimals <= _MAX_DECIMALS:
        raise InvalidInput(f"{path}: decimals is not a whole number from 0 to {_MAX_DECIMALS}")
    if not isinstance(prices, dict) or not prices:
        raise InvalidInput(f"{path}: [prices] is missing or empty")
    by_type = {name: _price(path, name, value) for name, value in prices.items()}
    return Prices(currency, decimals, by_type)


def _price(path: Path, name: str, value: Any) -> Decimal:
    price = Decimal(value) if type(value) is int else value
    if not isinstance(price, Decimal) or not price.is_finite() or price < 0:
        raise InvalidInput(f"{path}: the price of {name!r} is not a number of 0 or more")
    return price
