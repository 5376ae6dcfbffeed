"""Events, instants and windows to try properties on."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from events.domain.windows import HOUR, LATEST
from events.models import Event, Window

HOUR_ZERO = datetime(2021, 3, 1, tzinfo=UTC)

#: What keys are made of, their escapes and neighbours, and letters of one to four bytes.
NASTY = (
    st.sampled_from(["-", "--", "%", "%2D", "%2d", "%25", "%252D", "#", "$", ".", ",", "/", '"'])
    | st.sampled_from(["2", "5", "D", "Z", "a", "A", " ", "\u00a0", "é", "e\u0301", "\ue000", "🐢"])
    | st.just(HOUR_ZERO.isoformat())
)
_ANY_CHARACTER = st.characters(exclude_categories=("Cc", "Cf", "Cn", "Cs"))


def ids(*, max_size: int = 6) -> st.SearchStrategy[str]:
    """Texts that can be an id: not empty, no control or invisible characters, no outer
    white space."""
    pieces = st.lists(NASTY | _ANY_CHARACTER, min_size=1, max_size=max_size)
    return pieces.map("".join).map(str.strip).filter(bool)


#: Any instant there is, and often one at the edge of an hour.
instants = st.one_of(
    st.datetimes(timezones=st.just(UTC)),
    st.builds(
        lambda hour, microseconds: HOUR_ZERO + hour * HOUR + timedelta(microseconds=microseconds),
        st.integers(-30, 30),
        st.integers(-2, 2),
    ),
    st.sampled_from([datetime.min.replace(tzinfo=UTC), LATEST, LATEST - HOUR]),
)
#: Instants of one day, most of them in few hours.
instants_of_a_day = st.builds(
    lambda hour, microseconds: HOUR_ZERO + hour * HOUR + timedelta(microseconds=microseconds),
    st.sampled_from([0, 0, 0, 1, 12, 23]),
    st.sampled_from([0, 1, 3_599_999_999]) | st.integers(0, 3_599_999_999),
)

events = st.builds(Event, ids(), ids(), ids(), instants)


def events_of_a_day(*, max_size: int = 60) -> st.SearchStrategy[list[Event]]:
    """Distinct events of one customer and day, of few types."""
    return st.lists(
        st.builds(
            Event,
            st.just("c"),
            st.sampled_from(["a", "a-b", "None", "total", "é"]),
            st.integers(0, 99).map(str),
            instants_of_a_day,
        ),
        max_size=max_size,
        unique=True,
    )


def _window(one: datetime, other: datetime) -> Window:
    return Window(min(one, other), max(one, other))


#: Any window, and often one of few hours.
windows = st.builds(_window, instants, instants)
short_windows = st.builds(
    lambda start, length: Window(start, start + length),
    instants.filter(lambda at: LATEST - at > timedelta(days=5)),
    st.one_of(
        st.integers(0, 100).map(lambda hours: hours * HOUR),
        st.timedeltas(timedelta(0), timedelta(days=4)),
        st.integers(0, 3).map(lambda count: timedelta(microseconds=count)),
    ),
)
