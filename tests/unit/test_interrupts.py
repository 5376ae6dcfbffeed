"""Ctrl-C and SIGTERM: the first one stops a run in good order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from events.errors import InvalidInput
from events.ingest.interrupts import Interrupted, Interrupts

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """Signals that reach the previous handlers; those of pytest are restored."""
    seen: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        seen.append(number)

    old = [signal.signal(number, handle) for number in SIGNALS]
    yield seen
    for number, handler in zip(SIGNALS, old, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_waiting_interrupts_at_once(
    handled: list[int], number: signal.Signals
) -> None:
    reached = []
    with Interrupts() as interrupts:
        with pytest.raises(Interrupted), interrupts.waiting():  # noqa: PT012 - the block is the subject
            signal.raise_signal(number)
            reached.append("after")
        with pytest.raises(Interrupted):
            interrupts.check()

    assert reached == []
    assert handled == []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_not_waiting_is_kept_until_the_next_check(
    handled: list[int], number: signal.Signals
) -> None:
    reached = []
    with Interrupts() as interrupts:
        with interrupts.waiting():
            pass
        signal.raise_signal(number)
        reached.append("after")
        with pytest.raises(Interrupted):
            interrupts.check()
        with pytest.raises(Interrupted), interrupts.waiting():
            reached.append("reading")

    assert reached == ["after"]
    assert handled == []


def test_without_a_signal_nothing_is_interrupted() -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        with interrupts.waiting():
            interrupts.check()


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize("is_failing", [False, True])
def test_the_previous_signal_handlers_are_restored(*, is_failing: bool) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    inside: list[object] = []
    try:
        with Interrupts():
            inside = [signal.getsignal(number) for number in SIGNALS]
            if is_failing:
                raise InvalidInput("no")
    except InvalidInput:
        pass

    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert not {*inside} & {*before}


def test_the_first_signal_calls_on_stop_once(handled: list[int]) -> None:
    calls: list[str] = []
    with Interrupts(on_stop=lambda: calls.append("stop")) as interrupts:
        assert not interrupts.is_stopping
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.is_stopping

    assert (calls, handled) == (["stop"], [])
