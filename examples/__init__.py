"""What others build on the bus and the API; see README.md."""

from __future__ import annotations


def shown(text: str) -> str:
    """Foreign text with its invisible characters escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
