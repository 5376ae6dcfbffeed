"""The commands of `python -m events`, one per file, and what all of them share."""

from __future__ import annotations

import functools
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn, ParamSpec

import typer

from events.errors import EventsError, InvalidInput

#: "Different" stands for every complete answer that reports a problem: rows were rejected, a
#: counter differs. "Interrupted" is what a shell reports for Ctrl-C.
EXIT_OK, EXIT_DIFFERENT, EXIT_NOT_RUN, EXIT_INTERRUPTED = 0, 1, 2, 130

Parameters = ParamSpec("Parameters")
_NO_LOG = logging.NullHandler()


def make_app(text: str | None = None) -> typer.Typer:
    """Make a program; `text` describes one that has several commands."""
    return typer.Typer(
        help=text,
        add_completion=False,
        pretty_exceptions_enable=False,
        # Boxes and colors are for people: help and usage errors in a pipe or a log are plain text.
        rich_markup_mode="rich" if sys.stderr is not None and sys.stderr.isatty() else None,
    )


def command(
    *, exit_when_stopped: int = EXIT_NOT_RUN
) -> Callable[[Callable[Parameters, int]], Callable[Parameters, None]]:
    """
    Turn a function that returns an exit code into a command that reports its own errors.

    A service runs until Ctrl-C or SIGTERM, so for a service `exit_when_stopped` is `EXIT_OK`.
    """

    def decorate(function: Callable[Parameters, int]) -> Callable[Parameters, None]:
        @functools.wraps(function)
        def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
            try:
                code = function(*args, **kwargs)
            except KeyboardInterrupt:
                say("stopped")
                code = exit_when_stopped
            except EventsError as exc:
                say(f"error: {exc}")
                code = EXIT_NOT_RUN
            except Exception:  # noqa: BLE001 - a bug; Python's own exit code 1 means "different"
                traceback.print_exc()
                code = EXIT_NOT_RUN
            raise typer.Exit(code)

        return run

    return decorate


def run_app(app: typer.Typer, arguments: Sequence[str] | None, program: str) -> int:
    """Run a command line (None: that of this process); returns its exit code."""
    # Nothing is logged unless a service configures it: a command prints its error itself.
    logging.getLogger("events").addHandler(_NO_LOG)
    old = signal.signal(signal.SIGTERM, _raise_keyboard_interrupt)
    try:
        app(arguments, prog_name=program)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else EXIT_NOT_RUN
    finally:
        signal.signal(signal.SIGTERM, old)
    return EXIT_OK


def _raise_keyboard_interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def check_at_most_one(**options: object) -> None:
    """Raise `InvalidInput` if more than one of these options was given."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if len(given) > 1:
        raise InvalidInput(f"{' and '.join(given)} cannot be used together")


def say(text: str) -> None:
    """Print a message on standard error; standard output is for results."""
    sys.stderr.write(f"{text}\n")


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Escape the invisible characters of an id or type."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
