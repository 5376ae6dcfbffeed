"""Faults that last, refusals, and answers that DynamoDB did not send."""

from __future__ import annotations

from contextlib import closing

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from events.errors import StoreRefused, StoreUnavailable
from events.models import DayCounts, Outcome
from events.service import EventService
from tests.store.helpers import cases
from tests.store.scenes import Scene, read_all, whole_truth
from tests.support.factories import DAY_ZERO, Contents, event, expected_contents, many_events
from tests.support.faults import (
    GARBLED,
    LOST_ANSWERS,
    PASSING_OF_WRITES,
    Send,
    after_commit,
    cancelled,
    conflict,
    error_instead,
    mixed_reasons,
    timeout,
)

INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE


# --- faults that stay -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases(name for name in PASSING_OF_WRITES if "among" not in name))
def test_a_lasting_fault_is_unavailable_and_a_retry_is_safe(scene: Scene, name: str) -> None:
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


def test_duplicates_among_lasting_conflicts_are_unavailable(scene: Scene) -> None:
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


def test_a_service_goes_on_after_a_lasting_fault(scene: Scene) -> None:
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
def test_a_refused_write_is_not_retried_and_stores_nothing(scene: Scene, code: str) -> None:
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
        ["None", "None", "ConditionalCheckFailed"],
        ["ConditionalCheckFailed", "ValidationError"],
        ["TransactionConflict", "ValidationError"],
        ["SomethingNew", "TransactionConflict"],
    ],
)
def test_a_final_cancellation_is_not_retried(scene: Scene, reasons: list[str]) -> None:
    # The actions are one put, and the counters of the day and of the type.
    reasons = [*reasons, "None"] if reasons else []
    line = scene.strike(faults={"cancelled": lambda request, _: cancelled(request, reasons)})
    with pytest.raises(StoreRefused):
        scene.store.write([event()])
    assert len(line.sent) == 1
    assert scene.tables.contents() == Contents(customers=["acme"])


# --- garbled answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases(GARBLED))
def test_a_foreign_success_is_not_a_receipt(scene: Scene, name: str) -> None:
    lines = [
        scene.strike(operation, faults={name: GARBLED[name]}, strikes=2)
        for operation in ("PutItem", "TransactWriteItems")
    ]
    events = many_events(3)
    assert scene.store.write(events) == [INSERTED] * 3
    assert scene.tables.contents() == expected_contents(events)
    assert [line.struck[name] for line in lines] == [2, 2]


@pytest.mark.parametrize("name", cases(GARBLED))
def test_a_foreign_success_repairs_no_counter(scene: Scene, name: str) -> None:
    line = scene.strike("UpdateItem", faults={name: GARBLED[name]}, strikes=2)
    scene.tables.set_counter("acme", DAY_ZERO, None, {0: 5})
    (seen,) = scene.store.day_counts("acme", DAY_ZERO, DAY_ZERO, by_type=False)
    recount = DayCounts("acme", DAY_ZERO, None, {0: 4})
    assert scene.store.repair(seen, recount)
    assert scene.tables.contents().counters == {("acme", "total#2021-03-01"): {"h00": 4}}
    assert line.struck[name] == 2


@pytest.mark.parametrize("name", cases(GARBLED))
def test_a_write_with_a_garbled_answer_is_done_once(scene: Scene, name: str) -> None:
    line = scene.strike(faults={name: after_commit(GARBLED[name])}, strikes=2)
    events = many_events(3)
    assert scene.store.write(events) == [INSERTED] * 3
    assert scene.tables.contents() == expected_contents(events)
    assert line.struck[name] == 2


@pytest.mark.parametrize("name", cases(GARBLED))
def test_a_read_with_a_garbled_answer_is_retried(scene: Scene, name: str) -> None:
    events = many_events(30)
    scene.store.write(events[:30])
    line = scene.strike("Query", "GetItem", "Scan", faults={name: GARBLED[name]}, chance=0.5)
    assert read_all(scene.store) == whole_truth(events)
    assert line.struck[name] > 0
