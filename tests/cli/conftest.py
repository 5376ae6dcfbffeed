"""Commands, and the tables they write."""

from tests.support.fixtures import shell, tables

__all__ = ["shell", "tables"]
