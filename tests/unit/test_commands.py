"""What all commands share: exit codes, errors, signals."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from events.cli import (
    EXIT_INTERRUPTED,
    EXIT_NOT_RUN,
    EXIT_OK,
    check_at_most_one,
    command,
    make_app,
    run_app,
)
from events.errors import InvalidInput


def run(function: Callable[[], int], *, exit_when_stopped: int = EXIT_NOT_RUN) -> int:
    app = make_app()
    app.command()(command(exit_when_stopped=exit_when_stopped)(function))
    return run_app(app, [], "program")


def raise_error(error: BaseException) -> Callable[[], int]:
    def function() -> int:
        raise error

    return function


@pytest.mark.parametrize("code", [EXIT_OK, 1, EXIT_NOT_RUN, EXIT_INTERRUPTED])
def test_the_exit_code_is_what_the_command_returns(code: int) -> None:
    assert run(lambda: code) == code


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raise_error(InvalidInput("the file is empty"))) == EXIT_NOT_RUN
    assert capsys.readouterr() == ("", "error: the file is empty\n")


def test_a_bug_is_not_reported_as_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raise_error(ZeroDivisionError("a bug"))) == EXIT_NOT_RUN
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("exit_when_stopped", [EXIT_OK, EXIT_NOT_RUN])
def test_ctrl_c_and_sigterm_stop_a_command(
    capsys: pytest.CaptureFixture[str], number: signal.Signals, exit_when_stopped: int
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def function() -> int:
        signal.raise_signal(number)
        return EXIT_OK

    assert run(function, exit_when_stopped=exit_when_stopped) == exit_when_stopped
    assert capsys.readouterr().err == "stopped\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_options_that_exclude_each_other_are_named() -> None:
    check_at_most_one(json=True, csv=False)
    with pytest.raises(InvalidInput, match="--json and --in-memory cannot be used together"):
        check_at_most_one(json=True, csv=False, in_memory=True)
