"""Whatever happens to a request: nothing is lost or counted twice, and receipts are right."""

from __future__ import annotations

import io
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.httpsession import URLLib3Session

from events.bootstrap import make_client, make_store
from events.config import Settings
from events.dao import DynamoStore
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.errors import StoreRefused, StoreUnavailable
from events.models import DayCounts, Erasure, Event, Outcome, Window
from events.service import EventService
from tests.support.backdoor import DynamoBackDoor
from tests.support.database import Database
from tests.support.factories import (
    DAY,
    DAY_ZERO,
    HOUR,
    HOUR_ZERO,
    Contents,
    batches,
    days_of,
    event,
    expected_contents,
    many_events,
    stored_key,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE
#: How often each fault strikes at least.
STRIKES = 100

# --- the faults -----------------------------------------------------------------------------------

Send = Callable[[AWSPreparedRequest], AWSResponse]
#: Does something else than sending a request; None says that it had no cause to strike.
Fault = Callable[[AWSPreparedRequest, Send], AWSResponse | None]


class Body(io.BytesIO):
    """What botocore reads an answer from."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def answer(request: AWSPreparedRequest, status: int, body: bytes, kind: str) -> AWSResponse:
    headers = {"content-type": kind, "content-length": str(len(body))}
    return AWSResponse(request.url, status, headers, Body(body))  # type: ignore[arg-type] # as moto


def body_of(request: AWSPreparedRequest) -> dict[str, Any]:
    assert isinstance(request.body, bytes)
    fields: dict[str, Any] = json.loads(request.body)
    return fields


def error(
    request: AWSPreparedRequest, code: str, *, status: int = 400, **more: object
) -> AWSResponse:
    fields = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "injected", **more}
    return answer(request, status, json.dumps(fields).encode(), "application/x-amz-json-1.0")


def error_instead(code: str, status: int = 400) -> Fault:
    return lambda request, _: error(request, code, status=status)


def cancelled(request: AWSPreparedRequest, reasons: Sequence[str]) -> AWSResponse:
    listed = [{"Code": reason, "Message": "injected"} for reason in reasons]
    return error(request, "TransactionCanceledException", CancellationReasons=listed)


def conflict(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    """Every action but the first met another transaction."""
    number = len(body_of(request)["TransactItems"])
    return cancelled(request, ["None", *["TransactionConflict"] * (number - 1)])


def mixed_reasons(request: AWSPreparedRequest, send: Send) -> AWSResponse | None:
    """The real duplicates, and in the same list a conflict and a throttle for the others."""
    response = send(request)
    if response.status_code == 200:
        return None
    reasons = json.loads(response.content)["CancellationReasons"]
    assert {each["Code"] for each in reasons} == {"None", "ConditionalCheckFailed"}
    others = iter(["TransactionConflict", "ThrottlingError"] * len(reasons))
    mixed = [{"Code": next(others)} if each["Code"] == "None" else each for each in reasons]
    return error(request, "TransactionCanceledException", CancellationReasons=mixed)


def timeout(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    raise ReadTimeoutError(endpoint_url=request.url, error="injected")


def connect_timeout(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    raise ConnectTimeoutError(endpoint_url=request.url, error="injected")


def reset(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    raise ConnectionClosedError(endpoint_url=request.url, error="injected")


def no_route(request: AWSPreparedRequest, _: Send) -> AWSResponse:
    raise EndpointConnectionError(endpoint_url=request.url, error="injected")


#: No UTF-8.
LATIN = "<html>occupé</html>".encode("latin-1")


def html(
    request: AWSPreparedRequest, _: Send, *, status: int, body: bytes = b"<html>busy</html>"
) -> AWSResponse:
    """What a proxy or a load balancer says in the store's place."""
    return answer(request, status, body, "text/html")


def after_commit(fault: Fault) -> Fault:
    """The request is done, and its answer is lost."""

    def strike(request: AWSPreparedRequest, send: Send) -> AWSResponse | None:
        response = send(request)
        # A transaction that was cancelled has done nothing: its answer passes.
        return response if response.status_code != 200 else fault(request, send)

    return strike


PASSING: dict[str, Fault] = {
    "throttled": error_instead("ProvisionedThroughputExceededException"),
    "throttled by the control plane": error_instead("ThrottlingException"),
    "too many requests": error_instead("RequestLimitExceeded"),
    "internal error": error_instead("InternalServerError", 500),
    "unavailable": error_instead("ServiceUnavailable", 503),
    "connection reset": reset,
    "no connection": no_route,
    "connect timeout": connect_timeout,
    "timeout": timeout,
    "garbled 500": partial(html, status=500),
    "garbled 502": partial(html, status=502, body=LATIN),
    "garbled 503": partial(html, status=503, body=b""),
}
IN_PROGRESS = error_instead("TransactionInProgressException")
LOST_ANSWERS: dict[str, Fault] = {
    "timeout after the commit": after_commit(timeout),
    "connection reset after the commit": after_commit(reset),
    "internal error after the commit": after_commit(error_instead("InternalServerError", 500)),
    "garbled 500 after the commit": after_commit(partial(html, status=500)),
    "in progress after the commit": after_commit(IN_PROGRESS),
}
#: Faults of writes that pass by themselves.
PASSING_OF_WRITES: dict[str, Fault] = {
    **PASSING,
    **LOST_ANSWERS,
    "conflict": conflict,
    "in progress": IN_PROGRESS,
    "conflict among duplicates": mixed_reasons,
}


# --- the line that they strike --------------------------------------------------------------------


@dataclass
class Line:
    """
    Between a client and its database, for some operations.

    Args:
        faults: What may strike; more than one are taken in turn.
        chance: How often one does.
        strikes: After this many it stays whole.
    """

    faults: dict[str, Fault] = field(default_factory=dict)
    chance: float = 1.0
    strikes: float = float("inf")
    seed: int = 0
    #: How often each fault struck.
    struck: Counter[str] = field(default_factory=Counter)
    #: The body of each request, as it went out.
    sent: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._lock = threading.Lock()
        # Without Nagle's wait, as botocore's own session.
        self._session = URLLib3Session(
            socket_options=[
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # type: ignore[list-item] # so it is
            ]
        )

    def __call__(self, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        with self._lock:
            self.sent.append(body_of(request))
            is_struck = (
                bool(self.faults)
                and self.struck.total() < self.strikes
                and self._rng.random() < self.chance
            )
            # The one that struck least is next: none is left out.
            name = min(self.faults, key=lambda each: self.struck[each]) if is_struck else ""
        if not is_struck:
            return None
        sent: list[AWSResponse] = []

        def send(request: AWSPreparedRequest) -> AWSResponse:
            sent.append(self._session.send(request))
            return sent[-1]

        try:
            response = self.faults[name](request, send)
        except Exception:
            self._count(name)
            raise
        if response is None:
            return sent[-1]
        if response not in sent:
            self._count(name)
        return response

    def _count(self, name: str) -> None:
        with self._lock:
            self.struck[name] += 1

    def heal(self) -> None:
        self.faults = {}

    def tokens(self) -> list[str]:
        return [each["ClientRequestToken"] for each in self.sent]

    def puts(self) -> list[int]:
        """How many events each request held."""
        return [sum("Put" in each for each in request["TransactItems"]) for request in self.sent]

    def close(self) -> None:
        self._session.close()


class Clock:
    """Time that passes only where the store waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@dataclass
class Scene:
    """A store on a client whose lines can be struck, and the back door to its tables."""

    store: DynamoStore
    client: DynamoDBClient
    tables: DynamoBackDoor
    lines: list[tuple[str, Line]] = field(default_factory=list)

    def strike(self, *operations: str, **line: Any) -> Line:
        """Lay a line; without operations it is that of writes."""
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
        # Of the client this only lets go of connections.
        self.store.close()
        self.tables.drop_tables()


@pytest.fixture(scope="module")
def clients(database: Database) -> Iterator[list[DynamoDBClient]]:
    """One for the store, and one for the back door: making one takes as long as a whole test."""
    settings = Settings(dynamodb_endpoint_url=database.endpoint_url)
    clients = [make_client(settings) for _ in range(2)]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def scene(settings: Settings, clients: list[DynamoDBClient]) -> Iterator[Scene]:
    clock = Clock()
    scene = make_scene(
        settings,
        clients,
        RetryPolicy(
            15,
            base_seconds=0.01,
            cap_seconds=1,
            sleep=clock.sleep,
            clock=clock,
            jitter=random.Random(1).random,
        ),
    )
    yield scene
    scene.close()


def make_scene(settings: Settings, clients: list[DynamoDBClient], retry: RetryPolicy) -> Scene:
    client, client_of_back_door = clients
    tables = Tables.named(settings.dynamodb_events_table_name)
    store = DynamoStore(client, tables, retry=retry)
    store.create_tables()
    return Scene(store, client, DynamoBackDoor(client_of_back_door, tables.events))


def deliveries(seed: int) -> Iterator[list[Event]]:
    """Batches of one customer and day each, without end; about a third was there before."""
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
        right = [DUPLICATE if each in self.events else INSERTED for each in batch]
        self.events.update(batch)
        return right


# --- faults that pass -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PASSING_OF_WRITES)
def test_nothing_is_lost_or_counted_twice_and_receipts_are_right_under(
    scene: Scene, name: str
) -> None:
    line = scene.strike(faults={name: PASSING_OF_WRITES[name]}, chance=0.6, seed=len(name))
    books = Books()
    for batch in deliveries(seed=len(name)):
        right = books.receipts(batch)
        assert scene.store.write(batch) == right
        if line.struck[name] >= STRIKES:
            break
    assert scene.tables.contents() == expected_contents(books.events)


def test_nothing_is_lost_or_counted_twice_when_everything_goes_wrong_at_once(scene: Scene) -> None:
    line = scene.strike(faults=PASSING_OF_WRITES, chance=0.5, seed=7)
    events = many_events(600, customers=4, hours=96, event_types=3)
    rng = random.Random(7)
    inserted = 0
    with closing(EventService(scene.store, write_threads=4)) as service:
        while min(line.struck[name] for name in PASSING_OF_WRITES) < 10:
            tickets = [service.submit(rng.sample(events, 5)) for _ in range(40)]
            inserted += sum(ticket.wait().count(INSERTED) for ticket in tickets)
        line.heal()
        outcomes = service.ingest(events)
        assert inserted + outcomes.count(INSERTED) == len(events)
        assert scene.tables.contents() == expected_contents(events)
        found = service.verify()
    assert (found.events, found.differences, found.unsettled) == (len(events), (), ())


@pytest.mark.parametrize("name", PASSING_OF_WRITES)
def test_corrections_and_erasures_are_exact_and_their_receipts_right_under(
    scene: Scene, name: str
) -> None:
    line = scene.strike(faults={name: PASSING_OF_WRITES[name]}, chance=0.6, seed=len(name))
    stored: set[Event] = set()
    voided: set[Event] = set()
    rng = random.Random(len(name))
    for rounds, batch in enumerate(deliveries(seed=len(name))):
        right = [
            Outcome.VOIDED if e in voided else DUPLICATE if e in stored else INSERTED for e in batch
        ]
        assert scene.store.write(batch) == right
        stored.update(batch)
        some = rng.sample(batch, rng.randint(1, len(batch)))
        never = some[0]._replace(transaction_id="never sent")
        assert scene.store.void([*some, never], "x") == [
            *(Outcome.ALREADY_VOIDED if e in voided else Outcome.VOIDED for e in some),
            Outcome.NOT_FOUND,
        ]
        voided.update(some)
        if line.struck[name] >= STRIKES or (name == "conflict among duplicates" and rounds > 100):
            break
    assert scene.tables.contents() == expected_contents(stored, voided=voided, reason="x")
    gone: set[Event] = set()
    for customer_id in {e.customer_id for e in stored}:
        mine = sorted((e for e in stored if e.customer_id == customer_id), key=stored_key)
        half = mine[: len(mine) // 2]
        assert scene.store.erase(customer_id, max_events=len(half)) == Erasure(
            len(half), is_complete=False
        )
        gone.update(half)
    contents = scene.tables.contents()
    assert contents.events == expected_contents(stored - gone).events
    assert {k: v for k, v in contents.counters.items() if v} == {
        k: v for k, v in expected_contents(stored - gone - voided).counters.items() if v
    }


def test_a_correction_whose_answer_was_lost_is_done_once_and_says_so(scene: Scene) -> None:
    events = many_events(5)
    scene.store.write(events)
    scene.strike(faults=LOST_ANSWERS, strikes=len(LOST_ANSWERS))
    assert scene.store.void(events, "x") == [Outcome.VOIDED] * 5
    assert scene.store.void(events, "x") == [Outcome.ALREADY_VOIDED] * 5
    assert scene.tables.contents() == expected_contents(events, voided=events, reason="x")


def test_a_customer_is_listed_with_a_day_that_is_new_unless_it_just_was(scene: Scene) -> None:
    """An erasure counts on it: see `Registry.finish_erasure`."""
    line = scene.strike("PutItem")
    now = [0.0]
    scene.store._registry._clock = lambda: now[0]
    for seconds, day, listings in (
        (0.0, 0, 1), (19.0, 1, 1), (21.0, 2, 2), (30.0, 3, 2), (60.0, 3, 2), (99.0, 0, 2),
        (99.0, 4, 3),
    ):  # fmt: skip
        now[0] = seconds
        scene.store.write([event(f"t-{seconds}", timestamp=HOUR_ZERO + day * DAY)])
        listed = [each for each in line.sent if "counter_key" in each["Item"]]
        assert len(listed) == listings, (seconds, day)


def test_a_day_whose_counters_are_gone_is_listed_and_counted_anew(scene: Scene) -> None:
    """As after an erasure by another process, which this one has not heard of."""
    events = many_events(12, hours=1, event_types=2)
    scene.store.write(events[:4])
    scene.tables.unlist("customer-0")
    for each in events[:4]:
        scene.tables.drop_event(each)
    for event_type in (None, "type-0", "type-1"):
        scene.tables.drop_counter("customer-0", DAY_ZERO, event_type)
    line = scene.strike()
    assert scene.store.write(events[2:8]) == [INSERTED] * 6
    assert [len(set(each)) for each in (line.tokens(),)] == [2], "a new list, a new token"
    assert scene.tables.contents() == expected_contents(events[2:8])
    assert scene.store.write(events[6:]) == [DUPLICATE] * 2 + [INSERTED] * 4
    assert len(line.sent) == 4, "counted on again: one cancelled for duplicates, one done"
    assert scene.tables.contents() == expected_contents(events[2:])


def test_an_event_whose_answer_was_lost_is_inserted_and_then_a_duplicate(scene: Scene) -> None:
    line = scene.strike(faults=LOST_ANSWERS, strikes=len(LOST_ANSWERS))
    events = many_events(5)
    assert scene.store.write(events) == [INSERTED] * 5
    assert line.struck == Counter(dict.fromkeys(LOST_ANSWERS, 1))
    assert scene.store.write(events) == [DUPLICATE] * 5
    assert scene.tables.contents() == expected_contents(events)


def test_a_cancellation_whose_answer_was_lost_still_finds_the_duplicates(scene: Scene) -> None:
    events = many_events(9)
    scene.store.write(events[:4])

    def lose(request: AWSPreparedRequest, send: Send) -> AWSResponse:
        send(request)
        raise ReadTimeoutError(endpoint_url=request.url, error="injected")

    line = scene.strike(faults={"lost": lose}, strikes=2)
    assert scene.store.write(events) == [DUPLICATE] * 4 + [INSERTED] * 5
    assert line.struck["lost"] == 2
    assert scene.tables.contents() == expected_contents(events)


# --- garbled answers ------------------------------------------------------------------------------

#: Answers with a status of success that are not the store's.
GARBLED: dict[str, Fault] = {
    "a page of a proxy": partial(html, status=200),
    "a page that is no UTF-8": partial(html, status=200, body=LATIN),
    "nothing at all": partial(html, status=200, body=b""),
    "an answer cut off": partial(html, status=200, body=b'{"ConsumedCapacity": [{"Tab'),
    "JSON of another server": partial(html, status=200, body=b'{"status": "UP"}'),
}


@pytest.mark.parametrize("name", GARBLED)
def test_a_success_that_the_store_did_not_send_is_no_receipt(scene: Scene, name: str) -> None:
    lines = [
        scene.strike(operation, faults={name: GARBLED[name]}, strikes=2)
        for operation in ("PutItem", "TransactWriteItems")
    ]
    events = many_events(3)
    assert scene.store.write(events) == [INSERTED] * 3
    assert scene.tables.contents() == expected_contents(events)
    assert [line.struck[name] for line in lines] == [2, 2]


@pytest.mark.parametrize("name", GARBLED)
def test_a_success_that_the_store_did_not_send_mends_no_counter(scene: Scene, name: str) -> None:
    line = scene.strike("UpdateItem", faults={name: GARBLED[name]}, strikes=2)
    scene.tables.set_counter("acme", DAY_ZERO, None, {0: 5})
    (seen,) = scene.store.day_counts("acme", DAY_ZERO, DAY_ZERO, by_type=False)
    recount = DayCounts("acme", DAY_ZERO, None, {0: 4})
    assert scene.store.repair(seen, recount)
    assert scene.tables.contents().counters == {("acme", "total#2021-03-01"): {"h00": 4}}
    assert line.struck[name] == 2


@pytest.mark.parametrize("name", GARBLED)
def test_a_write_whose_answer_was_garbled_is_not_done_again(scene: Scene, name: str) -> None:
    line = scene.strike(faults={name: after_commit(GARBLED[name])}, strikes=2)
    events = many_events(3)
    assert scene.store.write(events) == [INSERTED] * 3
    assert scene.tables.contents() == expected_contents(events)
    assert line.struck[name] == 2


@pytest.mark.parametrize("name", GARBLED)
def test_a_read_whose_answer_was_garbled_is_made_again(scene: Scene, name: str) -> None:
    events = many_events(30)
    scene.store.write(events[:30])
    line = scene.strike("Query", "GetItem", "Scan", faults={name: GARBLED[name]}, chance=0.5)
    assert read_all(scene.store) == whole_truth(events)
    assert line.struck[name] > 0


# --- client tokens --------------------------------------------------------------------------------


def test_one_list_of_actions_keeps_its_token_however_often_it_is_sent(scene: Scene) -> None:
    faults = {name: fault for name, fault in PASSING_OF_WRITES.items() if fault != mixed_reasons}
    line = scene.strike(faults=faults, strikes=len(faults))
    scene.store.write(many_events(4))
    assert len(line.sent) == len(faults) + 1
    assert set(line.tokens()) == {line.tokens()[0]}
    assert all(each == line.sent[0] for each in line.sent)


def test_a_list_without_its_duplicates_has_a_token_of_its_own(scene: Scene) -> None:
    events = many_events(10)
    scene.store.write(events[:3])
    line = scene.strike(faults={"reset": reset}, strikes=2)
    scene.store.write(events)
    # Twice cut off and then found to have duplicates; then the rest.
    first, second = line.tokens()[0], line.tokens()[-1]
    assert line.tokens() == [first, first, first, second]
    assert first != second
    assert line.puts() == [10, 10, 10, 7]


def test_each_write_has_a_token_of_its_own(scene: Scene) -> None:
    line = scene.strike()
    for place in range(20):
        scene.store.write([event(f"t-{place}")])
    assert len(set(line.tokens())) == 20


def test_a_throttle_among_duplicates_is_waited_for(
    settings: Settings, clients: list[DynamoDBClient]
) -> None:
    waits: list[float] = []
    scene = make_scene(settings, clients, RetryPolicy(10, sleep=waits.append, jitter=lambda: 1.0))
    events = many_events(6)
    scene.store.write(events[:2])
    line = scene.strike(faults={"mixed": mixed_reasons}, strikes=1)
    assert scene.store.write(events) == [DUPLICATE] * 2 + [INSERTED] * 4
    assert line.struck["mixed"] == 1
    assert waits == [0.05]
    assert line.puts() == [6, 4]
    assert scene.tables.contents() == expected_contents(events)
    scene.close()


def test_duplicates_are_dropped_also_where_the_patience_is_over(
    settings: Settings, clients: list[DynamoDBClient]
) -> None:
    scene = make_scene(settings, clients, RetryPolicy(0))
    events = many_events(6)
    scene.store.write(events[:2])
    line = scene.strike(faults={"mixed": mixed_reasons}, strikes=1)
    assert scene.store.write(events) == [DUPLICATE] * 2 + [INSERTED] * 4
    assert line.puts() == [6, 4]
    assert scene.tables.contents() == expected_contents(events)
    scene.close()


def test_events_that_another_writer_stores_meanwhile_are_duplicates_of_their_own(
    scene: Scene, settings: Settings, clients: list[DynamoDBClient]
) -> None:
    events = many_events(8)
    places = iter([5, 2, 7])
    other = DynamoStore(
        clients[1], Tables.named(settings.dynamodb_events_table_name), retry=RetryPolicy(10)
    )

    def be_first(request: AWSPreparedRequest, send: Send) -> AWSResponse:
        place = next(places, None)
        if place is not None:
            assert other.write([events[place]]) == [INSERTED]
        return send(request)

    line = scene.strike(faults={"be first": be_first})
    right = [DUPLICATE if place in (5, 2, 7) else INSERTED for place in range(8)]
    assert scene.store.write(events) == right
    assert line.puts() == [8, 7, 6, 5]
    assert len(set(line.tokens())) == 4
    assert scene.tables.contents() == expected_contents(events)
    other.close()


# --- faults that stay -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PASSING_OF_WRITES if "among" not in name])
def test_a_fault_that_never_ends_is_unavailable_and_the_same_call_is_safe(
    scene: Scene, name: str
) -> None:
    events = many_events(12)
    scene.store.write(events[:2])
    line = scene.strike(faults={name: PASSING_OF_WRITES[name]})
    with pytest.raises(StoreUnavailable):
        scene.store.write(events[2:])
    assert line.struck[name] > 5
    line.heal()
    # The patience of the call is over, and its token with it: of a write that was done although
    # its answers were lost, the receipt is that the events are there.
    late = DUPLICATE if name in LOST_ANSWERS else INSERTED
    assert scene.store.write(events) == [DUPLICATE] * 2 + [late] * 10
    assert scene.tables.contents() == expected_contents(events)


def test_duplicates_among_conflicts_that_never_end_are_unavailable_at_last(scene: Scene) -> None:
    events = many_events(12)
    scene.store.write(events[:2])

    def mixed_first(request: AWSPreparedRequest, send: Send) -> AWSResponse | None:
        strike = conflict if line.struck.total() else mixed_reasons
        return strike(request, send)

    line = scene.strike(faults={"conflict": mixed_first})
    with pytest.raises(StoreUnavailable):
        scene.store.write(events)
    assert scene.tables.contents() == expected_contents(events[:2])
    line.heal()
    assert scene.store.write(events) == [DUPLICATE] * 2 + [INSERTED] * 10
    assert scene.tables.contents() == expected_contents(events)


def test_a_service_goes_on_with_other_events_after_a_fault_that_did_not_end(scene: Scene) -> None:
    line = scene.strike(faults={"timeout": timeout})
    lost, other = many_events(30, seed=1, hours=72), many_events(30, seed=2, hours=72)
    with closing(EventService(scene.store, write_threads=2)) as service:
        with pytest.raises(StoreUnavailable):
            service.ingest(lost)
        service.drain()  # the error came at the first failure; the others are still under way
        line.heal()
        assert service.ingest(other) == [INSERTED] * 30
        assert service.ingest(lost) == [INSERTED] * 30
    assert scene.tables.contents() == expected_contents([*lost, *other])


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "ValidationException",
        "AccessDeniedException",
        "UnrecognizedClientException",
        "ExpiredTokenException",
        "IdempotentParameterMismatchException",
        "ItemCollectionSizeLimitExceededException",
        "SomethingNewException",
    ],
)
def test_a_refusal_ends_the_write_at_once_and_stores_nothing(scene: Scene, code: str) -> None:
    line = scene.strike(faults={code: error_instead(code)})
    with pytest.raises(StoreRefused, match=code):
        scene.store.write(many_events(5))
    assert len(line.sent) == 1
    assert scene.tables.contents() == Contents(customers=["customer-0"])
    with (
        closing(EventService(scene.store, write_threads=1)) as service,
        pytest.raises(StoreRefused, match=code),
    ):
        service.ingest(many_events(5))


@pytest.mark.parametrize(
    "reasons",
    [
        ["ValidationError", "None"],
        ["None", "ItemCollectionSizeLimitExceeded"],
        ["None", "None"],
        [],
        ["None", "ConditionalCheckFailed"],
        ["ConditionalCheckFailed", "ValidationError"],
        ["TransactionConflict", "ValidationError"],
        ["SomethingNew", "TransactionConflict"],
    ],
)
def test_a_cancellation_that_no_retry_mends_ends_the_write_at_once(
    scene: Scene, reasons: list[str]
) -> None:
    # The actions are one put, and the counters of the day and of the type.
    reasons = [*reasons, "None"] if reasons else []
    line = scene.strike(faults={"cancelled": lambda request, _: cancelled(request, reasons)})
    with pytest.raises(StoreRefused):
        scene.store.write([event()])
    assert len(line.sent) == 1
    assert scene.tables.contents() == Contents(customers=["acme"])


# --- reads and single writes ----------------------------------------------------------------------


def read_all(store: DynamoStore) -> dict[str, object]:
    """Everything that a store can be asked, of the events that `many_events` makes."""
    window = Window(HOUR_ZERO, HOUR_ZERO + 5 * HOUR)
    store.check(patience_seconds=10)
    return {
        "totals": [
            (each.day, dict(each.hours))
            for each in store.day_counts("customer-0", "2021-01-01", "2021-12-31", by_type=False)
        ],
        "types": [
            (each.day, each.event_type, dict(each.hours))
            for each in store.day_counts("customer-0", "2021-01-01", "2021-12-31", by_type=True)
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
    ours = [each for each in events if each.customer_id == "customer-0"]
    inside = [each for each in ours if HOUR_ZERO <= each.timestamp < HOUR_ZERO + 5 * HOUR]
    counters = expected_contents(ours).counters
    names = sorted({each.customer_id for each in events})

    def hours(key: str) -> dict[int, int]:
        return {int(hour[1:]): number for hour, number in counters["customer-0", key].items()}

    keys = sorted(key for _, key in counters)
    return {
        "totals": [(key[6:], hours(key)) for key in keys if key.startswith("total#")],
        "types": [(key[5:15], key[16:], hours(key)) for key in keys if key.startswith("type#")],
        "events": set(ours),
        "in the window": set(inside),
        "count": [len(inside)] * 3,
        "count by type": [Counter(each.event_type for each in inside)] * 3,
        "customers": names,
        "stored": set(names),
        "listed": [True, False],
    }


@pytest.mark.parametrize("name", PASSING)
def test_a_read_is_made_again_until_it_is_answered(scene: Scene, name: str) -> None:
    events = many_events(120, customers=2, hours=96, event_types=3)
    for group in days_of(events):
        scene.store.write(group)
    line = scene.strike(
        "Query", "GetItem", "Scan", faults={name: PASSING[name]}, chance=0.6, seed=len(name)
    )
    while line.struck[name] < STRIKES:
        assert read_all(scene.store) == whole_truth(events)


def test_a_fault_between_two_pages_neither_skips_nor_repeats_an_event(scene: Scene) -> None:
    customer_id = "c" * 2048
    events = [
        event(f"{place:04d}" + "t" * 900, customer_id=customer_id, event_type="a")
        for place in range(800)
    ]
    for batch in batches(events):
        scene.store.write(batch)
    line = scene.strike("Query", faults=PASSING, chance=0.6)
    window = Window(HOUR_ZERO, HOUR_ZERO + HOUR)
    for _ in range(5):
        assert list(scene.store.counted_events(customer_id)) == events
        assert scene.store.count_events(customer_id, [window] * 2) == [800] * 2
    assert line.struck.total() > len(PASSING)


@pytest.mark.parametrize("operation", ["Query", "GetItem", "Scan"])
def test_a_read_that_is_never_answered_is_unavailable(scene: Scene, operation: str) -> None:
    scene.store.write(many_events(3))
    line = scene.strike(operation, faults=PASSING)
    with pytest.raises(StoreUnavailable):
        read_all(scene.store)
    line.heal()
    assert read_all(scene.store) == whole_truth(many_events(3))


@pytest.mark.parametrize("operation", ["Query", "GetItem", "Scan", "PutItem", "UpdateItem"])
def test_a_request_that_is_refused_is_made_once(scene: Scene, operation: str) -> None:
    line = scene.strike(
        operation, faults={"denied": error_instead("AccessDeniedException")}, strikes=1
    )
    with pytest.raises(StoreRefused, match="AccessDeniedException"):
        use_all(scene.store)
    assert len(line.sent) == 1


def use_all(store: DynamoStore) -> None:
    read_all(store)
    store.register("acme")
    nothing = DayCounts("acme", DAY_ZERO, None, {})
    store.repair(nothing, nothing)


def test_a_customer_is_listed_whatever_happens_to_the_request(scene: Scene) -> None:
    faults = {**PASSING, **LOST_ANSWERS}
    line = scene.strike("PutItem", faults=faults, chance=0.6)
    names = [f"customer-{place}" for place in range(60)]
    for name in names:
        scene.store.register(name)
    assert scene.tables.contents() == Contents(customers=sorted(names))
    assert set(line.struck) == set(faults)


def test_nothing_is_written_of_a_customer_that_cannot_be_listed(scene: Scene) -> None:
    line = scene.strike("PutItem", faults={"timeout": timeout})
    with pytest.raises(StoreUnavailable):
        scene.store.write([event()])
    assert scene.tables.contents() == Contents()
    line.heal()
    assert scene.store.write([event()]) == [INSERTED]
    assert scene.tables.contents() == expected_contents([event()])


@pytest.mark.parametrize("name", [*PASSING, *LOST_ANSWERS])
def test_a_counter_is_mended_once_whatever_happens_to_the_request(scene: Scene, name: str) -> None:
    faults = {**PASSING, **LOST_ANSWERS}
    scene.tables.set_counter("acme", DAY_ZERO, None, {0: 5})
    line = scene.strike("UpdateItem", faults={name: faults[name]}, strikes=3)
    (seen,) = scene.store.day_counts("acme", DAY_ZERO, DAY_ZERO, by_type=False)
    recount = DayCounts("acme", DAY_ZERO, None, {0: 4})
    assert scene.store.repair(seen, recount)
    # After a commit the next send finds that it was this repair which moved the counter.
    assert line.struck[name] == (1 if name in LOST_ANSWERS else 3)
    assert scene.tables.contents().counters == {("acme", "total#2021-03-01"): {"h00": 4}}
    assert not scene.store.repair(seen, recount)


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["events", "counts"])
def test_a_table_is_not_made_anew_beside_one_that_holds_something(scene: Scene, lost: str) -> None:
    events = many_events(10)
    scene.store.write(events)
    client, names = scene.client, scene.tables.names
    client.delete_table(TableName=getattr(names, lost))
    hour = Window(HOUR_ZERO, HOUR_ZERO + HOUR)

    def read() -> None:
        if lost == "events":
            scene.store.count_events("customer-0", [hour])
        else:
            list(scene.store.day_counts("customer-0", DAY_ZERO, DAY_ZERO, by_type=False))

    def write() -> None:
        scene.store.write(many_events(5, seed=2))

    for act in (read, write, scene.store.create_tables):
        with pytest.raises(StoreRefused, match=f"table {getattr(names, lost)} not found"):
            act()
    assert client.list_tables()["TableNames"].count(getattr(names, lost)) == 0


def test_a_table_is_made_beside_one_that_is_empty(scene: Scene) -> None:
    scene.client.delete_table(TableName=scene.tables.names.counts)
    events = many_events(10)
    assert scene.store.write(events) == [INSERTED] * 10
    assert scene.tables.contents() == expected_contents(events)


def test_a_store_that_may_make_no_tables_refuses_where_there_are_none(
    scene: Scene, settings: Settings
) -> None:
    scene.tables.drop_tables()
    with closing(make_store(settings, patience_seconds=0, may_make_tables=False)) as store:
        for act in (store.check, lambda: list(store.stored_customers())):
            with pytest.raises(StoreRefused, match="table not found"):
                act()
    assert scene.tables.names.events not in scene.client.list_tables()["TableNames"]


def test_tables_that_are_missing_are_made_and_the_write_succeeds(scene: Scene) -> None:
    scene.tables.drop_tables()
    events = many_events(10)
    assert scene.store.write(events) == [INSERTED] * 10
    assert scene.tables.contents() == expected_contents(events)


def test_tables_that_are_missing_are_made_and_the_read_finds_nothing(scene: Scene) -> None:
    scene.tables.drop_tables()
    window = Window(HOUR_ZERO, HOUR_ZERO + HOUR)
    assert scene.store.count_events("acme", [window] * 4) == [0] * 4
    scene.tables.drop_tables()
    scene.store.check()
    assert list(scene.store.stored_customers()) == []
    assert scene.tables.contents() == Contents()


def test_tables_are_made_whatever_happens_to_the_requests(scene: Scene) -> None:
    faults = {**PASSING, **LOST_ANSWERS}
    line = scene.strike("CreateTable", "DescribeTable", faults=faults, chance=0.6)
    books: list[Event] = []
    while set(line.struck) != set(faults):
        scene.tables.drop_tables()
        books = [event(f"t-{len(books)}", customer_id="acme")]
        assert scene.store.write(books) == [INSERTED]
        assert scene.tables.contents() == expected_contents(books)


def test_tables_that_vanish_in_mid_run_come_back_and_hold_what_is_written_again(
    scene: Scene,
) -> None:
    events = many_events(60, customers=3, hours=48)
    groups = days_of(events)
    for group in groups:
        scene.store.write(group)
    scene.tables.drop_tables()
    for group in groups:
        assert scene.store.write(group) == [INSERTED] * len(group)
    assert scene.tables.contents() == expected_contents(events)


def test_every_customer_is_listed_again_after_a_read_made_the_tables_anew(scene: Scene) -> None:
    events = [event(customer_id="a"), event(customer_id="b")]
    for each in events:
        scene.store.write([each])
    scene.tables.drop_tables()
    assert list(scene.store.counted_events("a")) == []
    for each in events:
        assert scene.store.write([each]) == [INSERTED]
    assert scene.tables.contents() == expected_contents(events)


def test_tables_that_vanish_while_threads_write_come_back_once(scene: Scene) -> None:
    events = many_events(80, hours=24 * 20)
    scene.tables.drop_tables()
    with closing(EventService(scene.store, write_threads=4)) as service:
        assert service.ingest(events) == [INSERTED] * 80
    assert scene.tables.contents() == expected_contents(events)


def test_a_resend_that_finds_the_tables_gone_makes_them_and_stores_the_events(scene: Scene) -> None:
    def vanish(request: AWSPreparedRequest, _: Send) -> AWSResponse:
        scene.tables.drop_tables()
        raise ReadTimeoutError(endpoint_url=request.url, error="injected")

    line = scene.strike(faults={"vanish": vanish}, strikes=1)
    events = many_events(4)
    assert scene.store.write(events) == [INSERTED] * 4
    assert line.struck["vanish"] == 1
    assert scene.tables.contents() == expected_contents(events)
