"""What the ingest command prints, and the rows of the sample that it is given."""

from __future__ import annotations

import re

from tests.support.factories import Contents
from tests.support.shell import HEADER, SAMPLE, Ran, Shell
from tests.support.tables import contents_of, rows_of


def untimed(text: str) -> str:
    """A summary without the only part that differs from run to run."""
    return re.sub(r" read in [0-9,]+\.[0-9] s \([0-9,]+ rows/s\)", " read", text)


def summary(
    file: str, *, inserted: int, duplicates: int, rejected: int = 0, rejects: str = ""
) -> str:
    """What a complete run prints, except for its time."""
    lines = [
        f"{file}: {inserted + duplicates + rejected:,} rows read",
        f"  inserted   {inserted:>13,}",
        f"  duplicates {duplicates:>13,}",
        f"  rejected   {rejected:>13,}",
    ]
    if rejected:
        path = rejects or f"{file}.rejects.csv"
        lines.append(f"  rejected rows with line number and reason: {path}")
    return "\n".join(lines) + "\n"


def in_short(ran: Ran) -> Ran:
    return ran._replace(out=untimed(ran.out))


def number_of(label: str, ran: Ran) -> int:
    """The number beside a label of the summary."""
    (number,) = re.findall(rf"^  {label} +([0-9,]+)(?:  .*)?$", ran.out, re.MULTILINE)
    return int(number.replace(",", ""))


def some_lines(number: int) -> list[str]:
    """The first rows of the sample, without the header."""
    return SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)[1 : number + 1]


def some_contents(shell: Shell, number: int) -> Contents:
    """The tables after the first rows of the sample, counted independently."""
    path = shell.folder.with_name("expected.csv")
    path.write_text(HEADER + "".join(some_lines(number)), encoding="utf-8")
    return contents_of(rows_of(path))
