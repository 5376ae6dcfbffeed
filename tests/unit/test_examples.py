"""Examples import only public layers; prices and invoices are exact."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from events.errors import InvalidInput
from examples import shown
from examples.billing.invoices import Invoice, Line, as_text, check_month, invoice
from examples.billing.prices import Prices, read_prices
from tests.unit.test_layers import CHECKOUT, imports, layers_of

EXAMPLES = sorted((CHECKOUT / "examples").rglob("*.py"))
TABLE = CHECKOUT / "examples" / "billing" / "prices.toml"
#: Layers that an example may import.
OFFERED = {"bootstrap", "config", "errors", "models", "domain", "kafka", "archive"}


def prices(**by_type: str) -> Prices:
    return Prices("EUR", 2, {name: Decimal(text) for name, text in by_type.items()})


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(CHECKOUT)))
def test_examples_import_only_the_public_layers(file: Path) -> None:
    assert layers_of(imports(file)) <= OFFERED
    assert not {name.split(".")[0] for name in imports(file)} & {"boto3", "botocore", "tests"}


def test_examples_import_only_load_settings_from_bootstrap() -> None:
    lines = {
        line
        for file in EXAMPLES
        for line in file.read_text(encoding="utf-8").splitlines()
        if "events.bootstrap" in line
    }
    assert lines == {"from events.bootstrap import load_settings"}


def test_every_example_is_listed_and_has_a_readme() -> None:
    listed = (CHECKOUT / "examples" / "README.md").read_text(encoding="utf-8")
    folders = [file.parent for file in EXAMPLES if file.name == "__main__.py"]
    assert folders, "at least one example"
    for folder in folders:
        assert (folder / "README.md").exists()
        assert f"({folder.name}/README.md)" in listed


# --- prices ---------------------------------------------------------------------------------------


def test_prices_are_exactly_the_decimals_in_the_table() -> None:
    assert read_prices(TABLE) == Prices(
        "EUR",
        2,
        {
            "page_view": Decimal("0.0002"),
            "search": Decimal("0.0015"),
            "api_call": Decimal("0.002"),
            "sign-in": Decimal("0.01"),
            "invoice.paid": Decimal("0.05"),
        },
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("currency = 1\n[prices]\na = 1\n", "currency is missing"),
        ('currency = "EUR"\n', r"\[prices\] is missing or empty"),
        ('currency = "EUR"\ndecimals = true\n[prices]\na = 1\n', "decimals is not a whole number"),
        ('currency = "EUR"\n[prices]\na = "1"\n', "the price of 'a' is not a number of 0 or more"),
        ('currency = "EUR"\n[prices]\na = -0.1\n', "the price of 'a' is not a number of 0 or more"),
        ('currency = "EUR"\n[prices]\na = nan\n', "the price of 'a' is not a number of 0 or more"),
        ('currency = "EUR"\n[prices]\na = true\n', "the price of 'a' is not a number of 0 or more"),
        ("currency", r"prices\.toml: "),
    ],
)
def test_an_invalid_price_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=message):
        read_prices(file)


# --- invoices -------------------------------------------------------------------------------------


def test_each_line_is_rounded_half_up_and_the_total_is_their_sum() -> None:
    # 3 × 0.005 = 0.015; as a float it is a little less and would be rounded to 0.01.
    result = invoice("acme", "2021-03", {"b": 3, "a": 1}, prices(a="0.004", b="0.005"))
    assert result == Invoice(
        "acme",
        "2021-03",
        "EUR",
        (
            Line("a", 1, Decimal("0.004"), Decimal("0.00")),
            Line("b", 3, Decimal("0.005"), Decimal("0.02")),
        ),
        Decimal("0.02"),
    )


def test_amounts_are_exact_for_any_number_of_units() -> None:
    result = invoice("acme", "2021-03", {"a": 10**24 + 1}, prices(a="0.123456789"))
    assert result.total == Decimal("123456789000000000000000.12")


def test_a_type_without_a_price_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="no price for 'b', 'c': add it"):
        invoice("acme", "2021-03", {"a": 1, "c": 1, "b": 1}, prices(a="1"))


def test_a_month_without_units_has_an_empty_invoice() -> None:
    assert as_text(invoice("acme", "2021-03", {}, prices(a="1"))) == (
        "Invoice for acme, 2021-03 (hours of UTC)\n"
        "\n"
        "event type  units  price (EUR)  amount (EUR)\n"
        "total           0                       0.00"
    )


def test_control_characters_in_names_are_escaped() -> None:
    assert shown("a\x1b[2Jb\u202e") == "a\\x1b[2Jb\\u202e"


@pytest.mark.parametrize("text", ["2021-13", "2021-3", "0000-01", "2021-03-01", "٢٠٢١-03", ""])
def test_an_invalid_month_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a month"):
        check_month(text)
    assert check_month("2021-03") == "2021-03"
