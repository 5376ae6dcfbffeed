"""Make a CSV file of usage events, any size: the same arguments give the same bytes."""

import argparse
import random
import sys
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import accumulate
from math import fsum

HEADER = "customer_id,event_type,transaction_id,timestamp\n"

# One entry per twentieth of the events.
EVENT_TYPES = (
    *("page_view",) * 8,
    *("api_call",) * 5,
    *("search",) * 4,
    *("sign-in",) * 2,
    *("invoice.paid",) * 1,
)
FIRST_CUSTOMER_SHARE = 0.6
SHARED_TRANSACTION_SHARE = 0.005
ODD_SPELLING_SHARE = 0.12
VERY_LATE_SHARE = 0.002

# Events per hour of the UTC day, as weights. Whole numbers, so that the split over the hours is
# the same on every machine.
DAILY_WAVE = (2, 1, 1, 1, 2, 3, 5, 8, 11, 14, 16, 17, 17, 18, 18, 17, 16, 14, 12, 10, 8, 6, 4, 3)
# Each so many hours one begins with an event at its very start, and the one before ends with an
# event in its last microsecond. Prime to 24, so that every hour of the day has its turn.
BOUNDARY_EVERY_HOURS = 17

HOUR = timedelta(hours=1)
HOUR_MICROSECONDS = 3_600_000_000

# Rows held back, whatever the number of rows: this is all the memory the program needs.
MAX_SHUFFLED = 1_000
MAX_HELD = 4_096

STANDARD_OUTPUT = 1  # its file descriptor

MAX_ROWS = 10**12
MAX_CUSTOMERS = 100_000
MAX_DAYS = 36_525
MAX_DUPLICATES = 0.9


@dataclass(frozen=True)
class Spelling:
    """One way to write an instant; `step` is the finest it can write, in microseconds."""

    separator: str
    precision: str
    step: int
    offset: timedelta
    suffix: str

    def write(self, at: datetime) -> str:
        """Text of `at`, a naive UTC instant on a multiple of `step`."""
        return (at + self.offset).isoformat(self.separator, self.precision) + self.suffix


def _spelling(separator: str, precision: str, suffix: str, *, minutes: int = 0) -> Spelling:
    step = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}[precision]
    return Spelling(separator, precision, step, timedelta(minutes=minutes), suffix)


USUAL = _spelling(" ", "milliseconds", "+00")
EXACT = _spelling(" ", "microseconds", "+00")
ODD = (
    EXACT,
    _spelling("T", "milliseconds", "Z"),
    _spelling("T", "microseconds", "Z"),
    _spelling("T", "seconds", "Z"),
    _spelling(" ", "seconds", "+00"),
    _spelling("T", "milliseconds", "+00:00"),
    _spelling(" ", "milliseconds", "+0530", minutes=330),
    _spelling("T", "microseconds", "+0530", minutes=330),
    _spelling("T", "milliseconds", "-08:00", minutes=-480),
    _spelling(" ", "seconds", "-08:00", minutes=-480),
    _spelling(" ", "milliseconds", "+01", minutes=60),
    _spelling("T", "microseconds", "+01", minutes=60),
)
SPELLINGS = (USUAL, *ODD)


@dataclass(frozen=True)
class Plan:
    """What to make: `rows` counts every row below the header, duplicates too."""

    rows: int = 6_000
    seed: int = 3
    customers: int = 8
    days: int = 31
    start: date = date(2021, 3, 1)
    duplicates: float = 0.05
    plain: bool = False

    @property
    def repeated(self) -> int:
        return 0 if self.plain else int(self.rows * self.duplicates)

    @property
    def distinct(self) -> int:
        return self.rows - self.repeated


def lines(plan: Plan) -> Iterator[str]:
    """The header and `plan.rows` rows, each with its line end."""
    yield HEADER
    # Of the generator only random() and getrandbits() are used, because choices() and shuffle()
    # may change with the version of Python. The seed is text, because -1 would give what 1 gives.
    rng = random.Random(f"events {plan.seed}")
    events = _events(plan, rng)
    if plan.plain:
        yield from (f"{identity},{spelling.write(at)}\n" for identity, at, spelling in events)
    else:
        yield from _deliveries(plan, events, rng.random)


def customer_ids(seed: int, count: int) -> list[str]:
    """Largest customer first; depends on nothing but the seed, so two files can share them."""
    bits = random.Random(f"customers {seed}").getrandbits
    return [f"{bits(128):032x}" for _ in range(count)]


def _events(plan: Plan, rng: random.Random) -> Iterator[tuple[str, datetime, Spelling]]:
    """Distinct events in order (but for cut digits): row without timestamp, instant, spelling."""
    rnd, bits = rng.random, rng.getrandbits
    customers = customer_ids(plan.seed, plan.customers)
    shares = _cumulative_shares(plan.customers)
    identity, latest = "", None
    for hour, count, is_first, is_last in _hours(plan):
        for number in range(count):
            spelling = USUAL
            if not plan.plain and rnd() < ODD_SPELLING_SHARE:
                spelling = ODD[int(rnd() * len(ODD))]
            # One event in each of `count` equal parts of the hour: in order without a sort.
            elapsed = (number * HOUR_MICROSECONDS + int(rnd() * HOUR_MICROSECONDS)) // count
            if is_last and number == count - 1:
                elapsed, spelling = HOUR_MICROSECONDS - 1, EXACT
            elif is_first and number == 0:
                elapsed = 0
            at = hour + timedelta(0, 0, elapsed - elapsed % spelling.step)
            # An event that shares the transaction of the one before is a distinct event only at
            # another time; "later" also holds along a chain of them.
            is_shared = rnd() < SHARED_TRANSACTION_SHARE and latest is not None and at > latest
            if not is_shared:
                customer = customers[bisect(shares, rnd())]
                event_type = EVENT_TYPES[int(rnd() * len(EVENT_TYPES))]
                x = f"{bits(128):032x}"
                transaction = f"{x[:8]}-{x[8:12]}-4{x[13:16]}-a{x[17:20]}-{x[20:]}"
                identity = f"{customer},{event_type},{transaction}"
            latest = at
            yield identity, at, spelling


def _hours(plan: Plan) -> Iterator[tuple[datetime, int, bool, bool]]:
    """Hours with events: start, how many, and whether one is on the first or last microsecond."""
    midnight = datetime.combine(plan.start, time())
    hours = plan.days * len(DAILY_WAVE)
    total = plan.days * sum(DAILY_WAVE)
    weight = before = 0
    for index in range(hours):
        weight += DAILY_WAVE[index % len(DAILY_WAVE)]
        until = plan.distinct * weight // total
        if until > before:
            place = index % BOUNDARY_EVERY_HOURS
            is_first = place == 0 and not plan.plain
            is_last = (place == BOUNDARY_EVERY_HOURS - 1 or index == hours - 1) and not plan.plain
            yield midnight + index * HOUR, until - before, is_first, is_last
        before = until


def _cumulative_shares(customers: int) -> list[float]:
    """Upper bounds of all customers but the last: the first has its share, the k-th after 1/k."""
    weights = [1 / place for place in range(1, customers)]
    scale = (1 - FIRST_CUSTOMER_SHARE) / fsum(weights) if weights else 0.0
    shares = accumulate((scale * weight for weight in weights), initial=FIRST_CUSTOMER_SHARE)
    return list(shares)[: customers - 1]


def _deliveries(
    plan: Plan, events: Iterable[tuple[str, datetime, Spelling]], rnd: Callable[[], float]
) -> Iterator[str]:
    """The events as they arrive: shuffled, a few very late, some twice."""
    shuffled = Pool(min(MAX_SHUFFLED, 1 + plan.rows // 300), rnd)
    held = Pool(min(MAX_HELD, 1 + plan.rows // 50), rnd)
    repeated, distinct, repeats = plan.repeated, plan.distinct, 0
    for number, (identity, at, spelling) in enumerate(events, start=1):
        line = f"{identity},{spelling.write(at)}\n"
        yield from (held if rnd() < VERY_LATE_SHARE else shuffled).swap(line)
        while repeats < repeated * number // distinct:
            repeats += 1
            if repeats % 2:
                yield from held.swap(line)
            else:
                others = _other_spellings(at, spelling)
                other = others[int(rnd() * len(others))]
                yield from held.swap(f"{identity},{other.write(at)}\n")
    yield from _drawn(shuffled.lines + held.lines, rnd)


def _other_spellings(at: datetime, spelling: Spelling) -> list[Spelling]:
    """Every other form that writes `at` without losing a digit of it."""
    return [s for s in SPELLINGS if s is not spelling and at.microsecond % s.step == 0]


class Pool:
    """Rows held back, at most `size`; a full pool gives a random one out for each one put in."""

    def __init__(self, size: int, rnd: Callable[[], float]) -> None:
        self.size = size
        self.rnd = rnd
        self.lines: list[str] = []

    def swap(self, line: str) -> tuple[str, ...]:
        if len(self.lines) < self.size:
            self.lines.append(line)
            return ()
        place = int(self.rnd() * self.size)
        out, self.lines[place] = self.lines[place], line
        return (out,)


def _drawn(rest: list[str], rnd: Callable[[], float]) -> Iterator[str]:
    """All of `rest`, which is emptied, in a random order."""
    while rest:
        place = int(rnd() * len(rest))
        rest[place], rest[-1] = rest[-1], rest[place]
        yield rest.pop()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    output = options.pop("output")
    plan = Plan(**options)
    try:
        # A spelling with an offset writes a local date up to a day outside.
        plan.start - timedelta(days=1), plan.start + timedelta(days=plan.days + 1)
    except OverflowError:
        parser.error(
            f"--start {plan.start} with --days {plan.days} leaves the years 0001 to 9999: "
            "choose another --start or fewer --days"
        )
    try:
        _write(lines(plan), output)
    except BrokenPipeError:
        pass  # the reader has what it wanted (`… | head`)
    except OSError as exc:
        name = "standard output" if output == "-" else output
        parser.error(
            f"cannot write {name}: {exc.strerror}. Give --output a file in a directory that "
            "exists, on a disk with room, or - for standard output"
        )
    return 0


def _write(rows: Iterable[str], output: str) -> None:
    # The file is opened here with its own line end and encoding, so that no platform changes them.
    target = STANDARD_OUTPUT if output == "-" else output
    with open(target, "w", encoding="ascii", newline="\n", closefd=output != "-") as file:
        file.writelines(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make a CSV file of usage events: one customer far larger than the rest, busy "
        "days and quiet nights, late and shuffled rows, several spellings of a timestamp, events "
        "that come twice. Every row is valid.",
        epilog="The same arguments give the same bytes; none give resources/events.csv. Memory "
        "stays the same for any number of rows.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, number = parser.add_argument, _whole_number
    rows, customers, days = number(0, MAX_ROWS), number(1, MAX_CUSTOMERS), number(1, MAX_DAYS)
    seed = number(-MAX_ROWS, MAX_ROWS)
    add("--rows", type=rows, default=Plan.rows, metavar="N", help="rows, duplicates included")
    add("--seed", type=seed, default=Plan.seed, metavar="S", help="another number, another file")
    add(
        "--customers",
        type=customers,
        default=Plan.customers,
        metavar="C",
        help="customers; the first has more than half of the events",
    )
    add("--days", type=days, default=Plan.days, metavar="D", help="days (UTC) to spread them over")
    add("--start", type=_day, default=Plan.start, metavar="YYYY-MM-DD", help="the first day (UTC)")
    add("--output", default="-", metavar="PATH", help="file to write (replaced), - for stdout")
    # Plain files have no duplicates: asking for both is refused.
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "--duplicates",
        type=_share,
        default=Plan.duplicates,
        metavar="SHARE",
        help=f"share of the rows that repeat an event, 0 to {MAX_DUPLICATES}: half as the same "
        "line, half as another spelling of the same instant",
    )
    add(
        "--plain",
        action="store_true",
        help="for benchmarks: one timestamp form, in order, no duplicates",
    )
    return parser


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r}: give a whole number from {least} to {most}"
            )
        return number

    return convert


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= MAX_DUPLICATES:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 0 to {MAX_DUPLICATES}")
    return share


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give a day that exists as YYYY-MM-DD, such as 2021-03-01"
        ) from exc


if __name__ == "__main__":
    sys.exit(main())
