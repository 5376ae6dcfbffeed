"""One rule of the code, broken on purpose."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """`before` occurs exactly once in `file`; `tests` are what pytest runs, separated by spaces."""

    rule: str
    file: str
    before: str
    after: str
    tests: str
