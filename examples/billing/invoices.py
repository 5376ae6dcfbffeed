"""Computes and prints invoices; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

from events.errors import InvalidInput
from examples import shown
from examples.billing.prices import Prices

_MONTH = re.compile(r"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])")
#: Precision of a product: far more digits than units and a price have together.
_DIGITS = 60


@dataclass(frozen=True, slots=True)
class Line:
    """One event type of one month."""

    event_type: str
    units: int
    price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Invoice:
    """`month` is a UTC month like `2021-03`; `total` is the sum of the rounded amounts."""

    customer_id: str
    month: str
    currency: str
    lines: tuple[Line, ...]
    total: Decimal


def check_month(text: str) -> str:
    """Return `text` if it is a month like `2021-03`; raises `InvalidInput`."""
    if not _MONTH.fullmatch(text):
        raise InvalidInput(f"{text!a} is not a month like 2021-03")
    return text


def invoice(customer_id: str, month: str, units: Mapping[str, int], prices: Prices) -> Invoice:
    """
    The invoice for the units of each event type.

    Raises:
        InvalidInput: A type has no price; it is never billed at a default.
    """
    unpriced = sorted(name for name in units if name not in prices.by_type)
    if unpriced:
        raise InvalidInput(
            f"the price table has no price for {', '.join(map(repr, unpriced))}: add it"
        )
    cent = Decimal(1).scaleb(-prices.decimals)
    with localcontext(prec=_DIGITS):
        lines = tuple(
            Line(
                name,
                number,
                prices.by_type[name],
                (number * prices.by_type[name]).quantize(cent, rounding=ROUND_HALF_UP),
            )
            for name, number in sorted(units.items())
        )
        total = sum((line.amount for line in lines), Decimal(0).quantize(cent))
    return Invoice(customer_id, month, prices.currency, lines, total)


def as_text(bill: Invoice) -> str:
    """The invoice as a table for a terminal."""
    rows = [
        ("event type", "units", f"price ({bill.currency})", f"amount ({bill.currency})"),
        *(
            (shown(line.event_type), f"{line.units:,}", f"{line.price:f}", f"{line.amount:,f}")
            for line in bill.lines
        ),
        ("total", f"{sum(line.units for line in bill.lines):,}", "", f"{bill.total:,f}"),
    ]
    head = f"Invoice for {shown(bill.customer_id)}, {bill.month} (hours of UTC)"
    return "\n".join((head, "", *_aligned(rows)))


def _aligned(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = [name.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()
