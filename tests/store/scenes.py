"""A store whose requests meet faults, and what it must hold despite them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from events.dao import DynamoStore
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.models import Event, Outcome, Window
from tests.support.backdoor import DynamoBackDoor
from tests.support.factories import HOUR, HOUR_ZERO, days_of, expected_contents, many_events
from tests.support.faults import Line

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE


class Clock:
    """A clock that only the store's waits move."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@dataclass
class Scene:
    """A store, faults on its line, and the back door to its tables."""

    store: DynamoStore
    client: DynamoDBClient
    tables: DynamoBackDoor
    lines: list[tuple[str, Line]] = field(default_factory=list)

    def strike(self, *operations: str, **line: Any) -> Line:
        """Put faults on the line of these operations; by default on that of writes."""
        struck = Line(**line)
        for operation in operations or ("TransactWriteItems",):
            name = f"before-send.dynamodb.{operation}"
            self.lines.append((name, struck))
            self.client.meta.events.register(name, struck)  # type: ignore[arg-type] # it may answer
        return struck

    def close(self) -> None:
        for name, line in self.lines:
            self.client.meta.events.unregister(name, line)  # type: ignore[arg-type] # as above
            line.close()
        self.store.close()


@contextmanager
def make_scene(name: str, clients: Sequence[DynamoDBClient], retry: RetryPolicy) -> Iterator[Scene]:
    """A store on tables of this name."""
    client, client_of_back_door = clients
    store = DynamoStore(client, Tables.named(name), retry=retry)
    store.create_tables()
    with closing(Scene(store, client, DynamoBackDoor(client_of_back_door, name))) as scene:
        yield scene


def deliveries(seed: int) -> Iterator[list[Event]]:
    """Endless batches of one customer and day each; about a third of the events are old."""
    rng = random.Random(seed)
    pool = days_of(many_events(1_500, seed=seed, customers=3, hours=96, event_types=3))
    places = [0] * len(pool)
    while True:
        lane = rng.randrange(len(pool))
        events, place = pool[lane], places[lane]
        new = events[place : place + rng.randint(1, 3)]
        places[lane] += len(new)
        old = rng.sample(events[:place], min(place, rng.randint(0, 2)))
        batch = new + old
        rng.shuffle(batch)
        if batch:
            yield batch


class Books:
    """What was written, and the receipts that are right."""

    def __init__(self) -> None:
        self.events: set[Event] = set()

    def receipts(self, batch: Sequence[Event]) -> list[Outcome]:
        right = [DUPLICATE if item in self.events else INSERTED for item in batch]
        self.events.update(batch)
        return right


def read_all(store: DynamoStore) -> dict[str, object]:
    """All reads of a store, for the events that `many_events` makes."""
    window = Window(HOUR_ZERO, HOUR_ZERO + 5 * HOUR)
    store.check(patience_seconds=10)
    return {
        "totals": [
            (item.day, dict(item.hours))
            for item in store.day_counts("customer-0", "2021-01-01", "2021-12-31", by_type=False)
        ],
        "types": [
            (event.day, event.event_type, dict(event.hours))
            for event in store.day_counts("customer-0", "2021-01-01", "2021-12-31", by_type=True)
        ],
        "events": set(store.counted_events("customer-0")),
        "in the window": set(store.counted_events("customer-0", window)),
        "count": store.count_events("customer-0", [window] * 3),
        "count by type": store.count_events_by_type("customer-0", [window] * 3),
        "customers": store.customers(prefix="", after=None, limit=10),
        "stored": set(store.stored_customers()),
        "listed": [store.is_listed("customer-0"), store.is_listed("nobody")],
    }


def whole_truth(events: Sequence[Event]) -> dict[str, object]:
    ours = [event for event in events if event.customer_id == "customer-0"]
    inside = [event for event in ours if HOUR_ZERO <= event.timestamp < HOUR_ZERO + 5 * HOUR]
    counters = expected_contents(ours).counters
    names = sorted({event.customer_id for event in events})

    def hours(key: str) -> dict[int, int]:
        return {int(hour[1:]): number for hour, number in counters["customer-0", key].items()}

    keys = sorted(key for _, key in counters)
    return {
        "totals": [(key[6:], hours(key)) for key in keys if key.startswith("total#")],
        "types": [(key[5:15], key[16:], hours(key)) for key in keys if key.startswith("type#")],
        "events": set(ours),
        "in the window": set(inside),
        "count": [len(inside)] * 3,
        "count by type": [Counter(event.event_type for event in inside)] * 3,
        "customers": names,
        "stored": set(names),
        "listed": [True, False],
    }
