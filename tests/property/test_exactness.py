"""Whatever comes, in whatever order and however often: counters are a recount, receipts add up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from events.bootstrap import make_client, make_store
from events.config import Settings
from events.models import BucketQuery, Event, Outcome, Verification, Window
from events.service import EventService, Store
from tests.support.backdoor import BackDoor, DynamoBackDoor
from tests.support.factories import DAY, HOUR, HOUR_ZERO, MICROSECOND, expected_contents
from tests.support.sqlstore import MemoryStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REPEATABLE = examples(derandomize=True, deadline=None)

#: Few of each, so that the same events and their near neighbours repeat often.
CUSTOMERS = ["acme", "a/b", "日本"]
TYPES = ["a", "a-b", "a%2Db", "#", "a#b"]
TRANSACTIONS = ["t", "b-t", "-", "%2D"]
TIMES = [
    HOUR_ZERO,
    HOUR_ZERO + MICROSECOND,
    HOUR_ZERO + HOUR - MICROSECOND,
    HOUR_ZERO + HOUR,
    HOUR_ZERO + DAY - MICROSECOND,
    HOUR_ZERO + DAY,
    HOUR_ZERO - MICROSECOND,
    datetime(1815, 6, 18, 11, 35, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=UTC),
]

near_events = st.builds(
    Event,
    st.sampled_from(CUSTOMERS),
    st.sampled_from(TYPES),
    st.sampled_from(TRANSACTIONS),
    st.sampled_from(TIMES),
)
texts = st.text(
    st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("-%#$ "),
    min_size=1,
    max_size=9,
).filter(lambda text: text == text.strip())
any_events = st.builds(Event, texts, texts, texts, st.datetimes(timezones=st.just(UTC)))
#: Deliveries: to which of two services, what, and whether to wait for the receipts at once.
deliveries = st.lists(
    st.tuples(
        st.integers(0, 1), st.lists(near_events | any_events, max_size=12), st.booleans()
    ),
    max_size=12,
)  # fmt: skip


def deliver(
    stores: tuple[Store, Store], batches: Sequence[tuple[int, Sequence[Event], bool]]
) -> list[list[Outcome]]:
    """The receipts of each batch."""
    with ExitStack() as closers:
        services = [
            closers.enter_context(closing(EventService(store, write_threads=2)))
            for store in stores
        ]  # fmt: skip
        tickets = []
        for service, events, is_waiting in batches:
            tickets.append(services[service].submit(events))
            if is_waiting:
                tickets[-1].wait()
        return [ticket.wait() for ticket in tickets]


def check(
    tables: BackDoor,
    batches: Sequence[tuple[int, Sequence[Event], bool]],
    receipts: Sequence[Sequence[Outcome]],
    *,
    before: frozenset[Event] = frozenset(),
) -> None:
    sent = [event for _, events, _ in batches for event in events]
    outcomes = [item for some in receipts for item in some]
    assert len(outcomes) == len(sent)
    # Each new event is inserted once, by any sender; all others are duplicates.
    inserted = [
        item
        for item, outcome in zip(sent, outcomes, strict=True)
        if outcome is Outcome.INSERTED
    ]  # fmt: skip
    assert len(inserted) == len(set(inserted))
    assert set(inserted) == set(sent) - before
    assert tables.contents() == expected_contents([*before, *sent])


@given(deliveries)
@examples(REPEATABLE, max_examples=30)
def test_any_deliveries_to_two_services_are_counted_exactly(
    batches: list[tuple[int, list[Event], bool]],
) -> None:
    store = MemoryStore()
    receipts = deliver((store, store), batches)
    check(store, batches, receipts)
    sent = {event for _, events, _ in batches for event in events}
    service = EventService(store, write_threads=1)
    assert service.verify() == Verification(
        customers=len({event.customer_id for event in sent}),
        days=len({(event.customer_id, event.timestamp.date()) for event in sent}),
        events=len(sent),
    )
    service.close()


@given(st.lists(near_events, max_size=40), st.randoms(use_true_random=False), st.integers(1, 9))
@examples(REPEATABLE, max_examples=40)
def test_order_and_batch_size_do_not_matter(
    events: list[Event], rng: random.Random, size: int
) -> None:
    one, other = MemoryStore(), MemoryStore()
    deliver((one, one), [(0, events, True)])
    shuffled = list(events)
    rng.shuffle(shuffled)
    pieces = [(0, shuffled[at : at + size], False) for at in range(0, len(shuffled), size)]
    deliver((other, other), pieces)
    assert one.contents() == other.contents() == expected_contents(events)


@given(
    st.lists(near_events, max_size=40),
    st.lists(st.sampled_from(TIMES) | st.datetimes(timezones=st.just(UTC)), min_size=2, max_size=2),
    st.booleans(),
)
@examples(REPEATABLE, max_examples=80)
def test_buckets_of_any_window_equal_a_count_by_hand(
    events: list[Event], ends: list[datetime], is_grouped: bool
) -> None:
    start, end = sorted(ends)
    store = MemoryStore()
    with closing(EventService(store, write_threads=1)) as service:
        service.ingest(events)
        page = service.buckets(
            BucketQuery("acme", Window(start, end), frozenset(), is_grouped=is_grouped)
        )
    counts: dict[datetime, Counter[str]] = {}
    for customer_id, event_type, _, at in set(events):
        # The latest instant ends no window: nothing later could take in its events.
        is_before_end = at < end or start < at == end == datetime.max.replace(tzinfo=UTC)
        if customer_id == "acme" and start <= at and is_before_end:
            counts.setdefault(at.replace(minute=0, second=0, microsecond=0), Counter())[
                event_type
            ] += 1
    assert [(bucket.start, bucket.count, bucket.counts) for bucket in page.buckets] == [
        (hour, kinds.total(), dict(kinds) if is_grouped else None)
        for hour, kinds in sorted(counts.items(), key=lambda item: item[0])
    ]
    assert page.total == sum(kinds.total() for kinds in counts.values())


# --- on the real database -------------------------------------------------------------------------


@pytest.fixture
def client(settings: Settings) -> Iterator[DynamoDBClient]:
    client = make_client(settings)
    yield client
    client.close()


@pytest.mark.slow
def test_any_deliveries_are_counted_exactly_on_dynamodb(
    settings: Settings, client: DynamoDBClient
) -> None:
    tables = DynamoBackDoor(client, settings.dynamodb_events_table_name)
    runs = count()
    stored: set[Event] = set()

    @given(deliveries)
    @examples(REPEATABLE, max_examples=6, suppress_health_check=[HealthCheck.too_slow])
    def hold(batches: list[tuple[int, list[Event], bool]]) -> None:
        # Every third run meets what the runs before it left; each of the others has its own year.
        run = next(runs)
        years = timedelta(days=366 * (run if run % 3 else 0))
        batches = [
            (service, [_moved(event, years) for event in events], is_waiting)
            for service, events, is_waiting in batches
        ]
        stores = (
            make_store(settings, patience_seconds=20),
            make_store(settings, patience_seconds=20),
        )
        stores[0].create_tables()
        receipts = deliver(stores, batches)
        check(tables, batches, receipts, before=frozenset(stored))
        stored.update(event for _, events, _ in batches for event in events)

    hold()
    assert len(stored) > 50
    tables.drop_tables()


def _moved(event: Event, by: timedelta) -> Event:
    is_near = datetime(1900, 1, 1, tzinfo=UTC) < event.timestamp < datetime(2100, 1, 1, tzinfo=UTC)
    return event._replace(timestamp=event.timestamp + by) if is_near else event
