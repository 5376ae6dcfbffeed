"""Generate a CSV file of usage events of any size; the same arguments give the same bytes."""

import random
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import accumulate
from math import fsum
from typing import Annotated

from typer import BadParameter, Option, Typer

HEADER = "customer_id,event_type,transaction_id,timestamp\n"

# Each entry stands for a twentieth of the events.
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

# The weight of each hour of the UTC day. Whole numbers, so that every machine splits the events
# over the hours in the same way.
DAILY_WAVE = (2, 1, 1, 1, 2, 3, 5, 8, 11, 14, 16, 17, 17, 18, 18, 17, 16, 14, 12, 10, 8, 6, 4, 3)
# Every 17 hours, an hour has an event at its very start, and the hour before it an event in its
# last microsecond. 17 and 24 have no common divisor, so every hour of the day gets its turn.
BOUNDARY_EVERY_HOURS = 17

HOUR = timedelta(hours=1)
HOUR_MICROSECONDS = 3_600_000_000
# The most rows held back; the memory does not depend on the number of rows.
MAX_SHUFFLED = 1_000
MAX_HELD = 4_096
MAX_DUPLICATES = 0.9


@dataclass(frozen=True)
class Spelling:
    """A format for instants; `step` is its precision in microseconds."""

    separator: str
    precision: str
    step: int
    offset: timedelta
    suffix: str

    def write(self, at: datetime) -> str:
        """The text of `at`, a naive UTC instant on a multiple of `step`."""
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
    """What to generate; `rows` counts every row below the header, including duplicates."""

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
    """The header and `plan.rows` rows, with line ends."""
    yield HEADER
    # Only random() and getrandbits(): choices() and shuffle() may change between Python versions.
    # The seed is text, because the numbers -1 and 1 would give the same sequence.
    rng = random.Random(f"events {plan.seed}")
    events = _events(plan, rng)
    if plan.plain:
        yield from (f"{identity},{spelling.write(at)}\n" for identity, at, spelling in events)
    else:
        yield from _deliveries(plan, events, rng.random)


def customer_ids(seed: int, count: int) -> list[str]:
    """Largest customer first. The ids depend only on the seed, so that two files can share them."""
    bits = random.Random(f"customers {seed}").getrandbits
    return [f"{bits(128):032x}" for _ in range(count)]


def _events(plan: Plan, rng: random.Random) -> Iterator[tuple[str, datetime, Spelling]]:
    """Distinct events by time: the row without its timestamp, the instant, the spelling."""
    rnd, bits = rng.random, rng.getrandbits
    customers = customer_ids(plan.seed, plan.customers)
    shares = _cumulative_shares(plan.customers)
    identity, latest = "", None
    for hour, count, is_first, is_last in _hours(plan):
        for number in range(count):
            spelling = USUAL
            if not plan.plain and rnd() < ODD_SPELLING_SHARE:
                spelling = ODD[int(rnd() * len(ODD))]
            # One event in each of `count` equal parts of the hour keeps them ordered.
            elapsed = (number * HOUR_MICROSECONDS + int(rnd() * HOUR_MICROSECONDS)) // count
            if is_last and number == count - 1:
                elapsed, spelling = HOUR_MICROSECONDS - 1, EXACT
            elif is_first and number == 0:
                elapsed = 0
            at = hour + timedelta(0, 0, elapsed - elapsed % spelling.step)
            # An event that shares the transaction of the previous one must be later to be distinct.
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
    """Hours with events: start, count, and whether one is on the first or last microsecond."""
    midnight = datetime.combine(plan.start, time())
    hours = plan.days * len(DAILY_WAVE)
    total = plan.days * sum(DAILY_WAVE)
    weight = before = 0
    for index in range(hours):
        weight += DAILY_WAVE[index % len(DAILY_WAVE)]
        until = plan.distinct * weight // total
        if until > before:
            turn = index % BOUNDARY_EVERY_HOURS
            is_first = turn == 0 and not plan.plain
            is_last = (turn == BOUNDARY_EVERY_HOURS - 1 or index == hours - 1) and not plan.plain
            yield midnight + index * HOUR, until - before, is_first, is_last
        before = until


def _cumulative_shares(customers: int) -> list[float]:
    """Upper bounds for all customers but the last: after the first, the k-th has weight 1/k."""
    weights = [1 / rank for rank in range(1, customers)]
    scale = (1 - FIRST_CUSTOMER_SHARE) / fsum(weights) if weights else 0.0
    shares = accumulate((scale * weight for weight in weights), initial=FIRST_CUSTOMER_SHARE)
    return list(shares)[: customers - 1]


def _deliveries(
    plan: Plan, events: Iterable[tuple[str, datetime, Spelling]], rnd: Callable[[], float]
) -> Iterator[str]:
    """The events in order of arrival: shuffled, a few very late, some twice."""
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
    """Every other spelling that writes `at` exactly."""
    return [s for s in SPELLINGS if s is not spelling and at.microsecond % s.step == 0]


class Pool:
    """Holds back at most `size` rows; a full pool returns a random row for each row put in."""

    def __init__(self, size: int, rnd: Callable[[], float]) -> None:
        self.size = size
        self.rnd = rnd
        self.lines: list[str] = []

    def swap(self, line: str) -> tuple[str, ...]:
        if len(self.lines) < self.size:
            self.lines.append(line)
            return ()
        index = int(self.rnd() * self.size)
        out, self.lines[index] = self.lines[index], line
        return (out,)


def _drawn(rest: list[str], rnd: Callable[[], float]) -> Iterator[str]:
    """Empty `rest` in a random order."""
    while rest:
        index = int(rnd() * len(rest))
        rest[index], rest[-1] = rest[-1], rest[index]
        yield rest.pop()


app = Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def make(
    rows: Annotated[int, Option(min=0, max=10**12, help="Including duplicates.")] = Plan.rows,
    seed: Annotated[int, Option(help="Another seed gives another file.")] = Plan.seed,
    customers: Annotated[
        int, Option(min=1, max=100_000, help="The first has more than half of the events.")
    ] = Plan.customers,
    days: Annotated[int, Option(min=1, max=36_525, help="UTC days to fill.")] = Plan.days,
    start: Annotated[
        datetime, Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="The first UTC day.")
    ] = datetime(2021, 3, 1),  # noqa: DTZ001 - immutable; only its date is used
    output: Annotated[
        str, Option(metavar="PATH", help="File to write or replace; - is standard output.")
    ] = "-",
    duplicates: Annotated[
        float | None,
        Option(
            min=0,
            max=MAX_DUPLICATES,
            help="Share of rows that repeat an event: half as the same line, half with another "
            f"spelling of the same instant (default: {Plan.duplicates}).",
        ),
    ] = None,
    plain: Annotated[
        bool, Option("--plain", help="One spelling of timestamps, ordered, no duplicates.")
    ] = False,
) -> None:
    """
    Generate a CSV file of usage events.

    One customer is far larger than the rest, days are busier than nights, rows are late and
    shuffled, timestamps have several spellings, and some events come twice. Every row is valid.

    The same arguments give the same bytes; without arguments, those of resources/events.csv.
    Memory does not depend on the number of rows.
    """
    if plain and duplicates is not None:
        raise BadParameter("--plain and --duplicates cannot be used together")
    share = Plan.duplicates if duplicates is None else duplicates
    plan = Plan(rows, seed, customers, days, start.date(), share, plain)
    try:
        # A spelling with an offset may write the local date of the day before or after.
        plan.start - timedelta(days=1), plan.start + timedelta(days=plan.days + 1)
    except OverflowError as exc:
        raise BadParameter(
            f"--start {plan.start} with --days {plan.days} leaves the years 0001 to 9999: "
            "choose another --start or fewer --days"
        ) from exc
    try:
        _write(lines(plan), output)
    except BrokenPipeError:
        pass  # the reader stopped early (`… | head`)
    except OSError as exc:
        name = "standard output" if output == "-" else output
        raise BadParameter(
            f"cannot write {name}: {exc.strerror}. With --output name a file in an existing "
            "folder, on a disk with free space, or - for standard output"
        ) from exc


def _write(rows: Iterable[str], output: str) -> None:
    # With a fixed line end and encoding, which differ between platforms.
    target = 1 if output == "-" else output  # 1: the descriptor of standard output
    with open(target, "w", encoding="ascii", newline="\n", closefd=output != "-") as file:
        file.writelines(rows)


if __name__ == "__main__":
    app()
