"""The commands of `python -m events`, one a file; each adds itself to the command line."""

from __future__ import annotations

import argparse
import sys
from typing import Any

EXIT_OK, EXIT_DIFFERENT, EXIT_NOT_RUN = 0, 1, 2

#: What `ArgumentParser.add_subparsers` returns; its own type is private.
Commands = Any


def say(text: str) -> None:
    """Tell whoever sits at the terminal; standard output is for results."""
    sys.stderr.write(f"{text}\n")


def port(text: str) -> int:
    """A port of the command line."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r}: give a port from 1 to 65535")
    return int(text)


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown(text: str) -> str:
    """An id or type with its invisible characters written out."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
