"""Keys: one for each event, in the order of time, and back."""

from hypothesis import assume, example, given
from hypothesis import strategies as st

from events.datamodels import (
    counter_bounds,
    counter_key,
    event_key,
    event_of,
    key_bounds,
    registry_key,
    registry_prefix,
)
from events.domain.parsing import parse_event
from events.domain.windows import LATEST
from events.models import Event, Window
from tests.property.strategies import HOUR_ZERO, NASTY, events, ids, windows

#: Of so few pieces that other splits of one text come up again and again.
colliding_ids = st.lists(st.sampled_from("-%2D5"), min_size=1, max_size=4).map("".join)
colliding_events = st.builds(Event, st.just("c"), colliding_ids, colliding_ids, st.just(HOUR_ZERO))


@given(events, events)
@example(Event("c", "a-b", "c", HOUR_ZERO), Event("c", "a", "b-c", HOUR_ZERO))
@example(Event("c", "-", "c", HOUR_ZERO), Event("c", "%2D", "c", HOUR_ZERO))
@example(Event("c", "é", "c", HOUR_ZERO), Event("c", "e\u0301", "c", HOUR_ZERO))
def test_events_are_equal_exactly_if_their_keys_are(one: Event, other: Event) -> None:
    other = other._replace(customer_id=one.customer_id)

    assert (one == other) is (event_key(one) == event_key(other))


@given(st.lists(colliding_events, max_size=40))
def test_distinct_events_have_distinct_keys(some: list[Event]) -> None:
    assert len({event_key(event) for event in some}) == len(set(some))


@given(events | colliding_events)
def test_a_key_gives_its_event_back(event: Event) -> None:
    assert event_of(event.customer_id, event_key(event)) == event


@given(
    st.one_of(
        st.text(),
        st.lists(NASTY).map("".join).map("2021-03-01T00:00:00.000000Z-".__add__),
        st.builds(
            lambda at, kind, rest: f"{at}-{kind}-{rest}",
            st.from_regex(
                r"[0-9]{4}-0[1-9]-[0-2][0-9]T[0-2][0-9]:00:00\.[0-9]([+-]0[0-9]:00|.{6})"
            ),
            ids(),
            ids(),
        ),
    )
)
def test_any_text_is_rejected_or_the_key_of_its_event(text: str) -> None:
    try:
        event = event_of("c", text)
    except ValueError:
        return

    assert event_key(event) == text


@given(events, events)
def test_keys_sort_in_order_of_time(one: Event, other: Event) -> None:
    assume(one.timestamp != other.timestamp)
    keys_in_order = event_key(one).encode() < event_key(other).encode()

    assert keys_in_order is (one.timestamp < other.timestamp)


@given(windows, events, st.sampled_from(["as it is", "at the start", "at the end"]))
@example(Window(HOUR_ZERO, HOUR_ZERO), Event("c", "e", "t", HOUR_ZERO), "as it is")
@example(Window(HOUR_ZERO, LATEST), Event("c", "e", "t", LATEST), "as it is")
def test_bounds_hold_exactly_the_keys_of_the_window(
    window: Window, event: Event, place: str
) -> None:
    if place != "as it is":
        event = event._replace(timestamp=window.start if place == "at the start" else window.end)
    low, high = (bound.encode() for bound in key_bounds(window))

    is_held = low <= event_key(event).encode() <= high

    # Nothing is later than the last microsecond, so a window up to it has no end.
    is_in_window = (
        window.start <= event.timestamp < window.end or event.timestamp == LATEST == window.end
    )
    assert is_held is is_in_window


@given(st.lists(st.dates(), min_size=3, max_size=3), ids() | st.none(), st.booleans())
def test_counter_bounds_hold_exactly_the_days_asked(
    dates: list[object], event_type: str | None, by_type: bool
) -> None:
    day, *ends = map(str, dates)
    first, last = sorted(ends)
    low, high = (bound.encode() for bound in counter_bounds(first, last, by_type=by_type))

    is_held = low <= counter_key(day, event_type).encode() <= high

    assert is_held is (first <= day <= last and by_type is (event_type is not None))


long_ids = st.builds(
    lambda start, piece, times, end: f"{start}{piece * times}{end}".encode()[:2_048].decode(
        errors="ignore"
    ),
    ids(),
    ids(max_size=1),
    st.sampled_from([1, 100, 300, 897, 1_000, 2_000]),
    ids(),
).map(str.strip)


@given(long_ids, long_ids)
def test_customers_have_distinct_registry_keys(one: str, other: str) -> None:
    assert (one == other) is (registry_key(one) == registry_key(other))
    assert len(registry_key(one).encode()) <= 1_024


@given(long_ids, st.integers(0, 2_048))
def test_registry_keys_of_a_prefix_have_the_same_start(customer_id: str, length: int) -> None:
    assert registry_key(customer_id).startswith(registry_prefix(customer_id[:length]))


@given(ids() | ids(max_size=1) | long_ids)
def test_generated_ids_are_valid(text: str) -> None:
    assert parse_event(text, "e", "t", "2021-03-01T00:00:00Z").customer_id == text
