"""The registry of customers, on every store."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence

from tests.store.helpers import ODD_CUSTOMERS
from tests.support.backdoor import Subject
from tests.support.factories import DAY, DAY_ZERO, HOUR_ZERO, Contents, event


def register_all(subject: Subject, names: Sequence[str]) -> None:
    shuffled = list(names)
    random.Random(3).shuffle(shuffled)
    for name in shuffled:
        subject.store.register(name)


def walk(subject: Subject, *, prefix: str = "", limit: int) -> list[str]:
    """The customers of all pages."""
    names: list[str] = []
    while True:
        after = names[-1] if names else None
        page = subject.store.customers(prefix=prefix, after=after, limit=limit)
        assert len(page) <= limit
        names += page
        if len(page) < limit:
            return names


def in_bytes(names: Iterable[str]) -> list[str]:
    return sorted(names, key=str.encode)


def test_customers_are_in_byte_order(subject: Subject) -> None:
    assert subject.store.customers(prefix="", after=None, limit=10) == []
    register_all(subject, ODD_CUSTOMERS)
    everybody = subject.store.customers(prefix="", after=None, limit=100)
    assert everybody == in_bytes(ODD_CUSTOMERS)
    assert subject.tables.contents() == Contents(customers=sorted(ODD_CUSTOMERS))


def test_pages_of_any_size_return_each_customer_once(subject: Subject) -> None:
    register_all(subject, ODD_CUSTOMERS)
    number = len(ODD_CUSTOMERS)
    for limit in (1, 2, 3, number - 1, number, number + 1, 100):
        assert walk(subject, limit=limit) == in_bytes(ODD_CUSTOMERS)


def test_a_prefix_selects_customers(subject: Subject) -> None:
    register_all(subject, ODD_CUSTOMERS)
    prefixes = [
        "a", "a/", "A", "%", "é", "e", "日", "l", "l" * 900, "l" * 901, "l" * 1024, "l" * 1025,
        "l" * 2048, "l" * 2049, "m" * 1025, "n" * 1024, "日" * 300, "日" * 301, "日" * 682,
        "nobody", "?x=1", " ", "\U0010ffff",
    ]  # fmt: skip
    assert {prefix: walk(subject, prefix=prefix, limit=2) for prefix in prefixes} == {
        prefix: in_bytes(name for name in ODD_CUSTOMERS if name.startswith(prefix))
        for prefix in prefixes
    }


def test_a_page_can_start_after_any_text(subject: Subject) -> None:
    names = [f"{letter}{digit}" for letter in "abd" for digit in range(6)]
    register_all(subject, names)
    questions = [
        (prefix, after)
        for prefix in ("", "a", "b", "c")
        for after in ("", "a", "a5", "b", "b0", "b3", "bz", "c", "z", "é" * 600)
    ]
    assert {
        (prefix, after): subject.store.customers(prefix=prefix, after=after, limit=4)
        for prefix, after in questions
    } == {
        (prefix, after): [name for name in names if name.startswith(prefix) and name > after][:4]
        for prefix, after in questions
    }


def test_long_ids_with_the_same_start_are_each_registered(subject: Subject) -> None:
    names = [f"{'x' * length}{end}" for length in (899, 900, 940, 1023, 1500) for end in "a!~é"]
    register_all(subject, names)
    assert sorted(walk(subject, limit=1)) == sorted(names)
    assert sorted(walk(subject, prefix="x" * 950, limit=3)) == sorted(
        name for name in names if name.startswith("x" * 950)
    )
    assert all(subject.store.is_listed(name) for name in names)


def test_an_id_like_the_shortened_key_of_another_is_separate(subject: Subject) -> None:
    long = "x" * 1_100
    names = [long, f"{'x' * 900} {hashlib.sha256(long.encode()).hexdigest()}"]
    for name in names:
        assert not subject.store.is_listed(name)
        subject.store.register(name)
    assert sorted(walk(subject, limit=1)) == sorted(names)


def test_a_customer_is_registered_with_its_first_event(subject: Subject) -> None:
    for name in ODD_CUSTOMERS:
        assert not subject.store.is_listed(name)
        subject.store.write([event(customer_id=name)])
        assert subject.store.is_listed(name)
    assert walk(subject, limit=5) == in_bytes(ODD_CUSTOMERS)


def test_a_customer_can_be_registered_again(subject: Subject) -> None:
    subject.store.write([event(customer_id="é/1"), event("t-2", customer_id="é/1")])
    subject.tables.unlist("é/1")
    assert not subject.store.is_listed("é/1")
    for _ in range(2):
        subject.store.register("é/1")
        assert subject.store.is_listed("é/1")
    assert subject.store.customers(prefix="", after=None, limit=9) == ["é/1"]


def test_stored_customers_are_all_with_an_event_or_a_counter(subject: Subject) -> None:
    for name in ODD_CUSTOMERS:
        for day in range(3):
            subject.store.write(
                [event(f"t-{index}", customer_id=name, timestamp=HOUR_ZERO + day * DAY)
                 for index in range(3)]
            )  # fmt: skip
    subject.tables.put_event(event(customer_id="only-an-event"))
    foreign = ["only-a-foreign-item"]
    foreign = [name for name in foreign if subject.tables.put_foreign(name, "\U0010ffff")]
    subject.tables.set_counter("only-a-counter", DAY_ZERO, None, {0: 1})
    subject.store.register("only-listed")
    assert sorted(subject.store.stored_customers()) == sorted(
        [*ODD_CUSTOMERS, "only-an-event", *foreign, "only-a-counter"]
    )
