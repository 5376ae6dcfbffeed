"""Runs programs in every order of their requests: a small model checker on the real code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenlet import greenlet

#: A program, by name; each request that it sends is one step.
Programs = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Step:
    """The program that took a step, and those that could have."""

    chosen: str
    others: tuple[str, ...]
    #: The program that took the step before could have gone on.
    is_preemption: bool


class Run:
    """
    One order of steps.

    Args:
        prefix: Who takes the first steps; afterwards a program runs until it ends.
        after_step: Called after each step.
    """

    def __init__(self, programs: Programs, prefix: Sequence[str]) -> None:
        self._programs = {name: greenlet(program) for name, program in programs.items()}
        self._prefix = prefix
        self.steps: list[Step] = []
        self._main: greenlet | None = None

    def wait_for_turn(self, *_: object) -> None:
        """A program calls this before each request."""
        if self._main is not None and greenlet.getcurrent() is not self._main:
            self._main.switch()

    def go(self, after_step: Callable[[], None]) -> None:
        self._main = greenlet.getcurrent()
        last = ""
        while alive := [name for name, program in self._programs.items() if not program.dead]:
            number = len(self.steps)
            if number < len(self._prefix):
                chosen = self._prefix[number]
            else:
                chosen = last if last in alive else alive[0]
            others = tuple(name for name in alive if name != chosen)
            self.steps.append(Step(chosen, others, last in alive and chosen != last))
            self._programs[chosen].switch()
            after_step()
            last = chosen


def schedules(run: Callable[[Sequence[str]], Sequence[Step]], preemptions: int) -> Iterator[int]:
    """
    Run all orders of steps in which a program is interrupted at most so often.

    With two, each pair of steps of different programs occurs in both orders.
    """
    waiting: list[tuple[str, ...]] = [()]
    number = 0
    while waiting:
        prefix = waiting.pop()
        steps = run(prefix)
        number += 1
        yield number
        spent = sum(step.is_preemption for step in steps[: len(prefix)])
        for index in range(len(prefix), len(steps)):
            step = steps[index]
            # To leave a program that could go on is a preemption; to choose after its end is not.
            is_free = index == 0 or steps[index - 1].chosen not in (step.chosen, *step.others)
            if spent + (not is_free) <= preemptions:
                chosen = tuple(item.chosen for item in steps[:index])
                waiting += [(*chosen, other) for other in step.others]


class Inline:
    """Threads that run each task at once, in the program that asks for it."""

    def map(self, function: Callable[..., Any], *iterables: Any) -> Iterator[Any]:
        return iter([function(*items) for items in zip(*iterables, strict=False)])

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        value = function(*arguments)
        return type("Done", (), {"result": lambda _: value})()

    def shutdown(self) -> None:
        pass
