"""The price table: a TOML file to decimals."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from events.errors import InvalidInput

_MOST_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Prices:
    """
    Args:
        decimals: Of an amount, such as 2 for cents.
        by_type: Event type → price of one event.
    """

    currency: str
    decimals: int
    by_type: Mapping[str, Decimal]


def read_prices(path: Path) -> Prices:
    """
    The table in a file like `prices.toml` beside this one.

    Raises:
        InvalidInput: It cannot be read, or something in it is no price; says which.
    """
    try:
        # A float would be the nearest of 2^53 numbers to the price, and not the price.
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise InvalidInput(f"{path}: {exc}") from exc
    currency, decimals = document.get("currency"), document.get("decimals", 2)
    prices = document.get("prices")
    if not isinstance(currency, str) or not currency:
        raise InvalidInput(f'{path}: currency is missing; write it like currency = "EUR"')
    if type(decimals) is not int or not 0 <= decimals <= _MOST_DECIMALS:
        raise InvalidInput(f"{path}: decimals is no whole number from 0 to {_MOST_DECIMALS}")
    if not isinstance(prices, dict) or not prices:
        raise InvalidInput(f"{path}: [prices] is missing or empty")
    by_type = {name: _price(path, name, value) for name, value in prices.items()}
    return Prices(currency, decimals, by_type)


def _price(path: Path, name: str, value: Any) -> Decimal:
    price = Decimal(value) if type(value) is int else value
    if not isinstance(price, Decimal) or not price.is_finite() or price < 0:
        raise InvalidInput(f"{path}: the price of {name!r} is no number from 0 on")
    return price
