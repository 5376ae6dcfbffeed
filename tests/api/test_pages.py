"""Pages of buckets: together they are the whole answer."""

from __future__ import annotations

import re

import pytest

from tests.support.api import DAY_ONE, Api, all_pages, answer, bucket, cursor_of, settled
from tests.support.factories import HOUR, HOUR_ZERO, event, time_text

CUT = "start=2021-03-01T00:15:00Z&end=2021-03-01T22:45:00Z"
OPTIONS = [
    "",
    "&fill=zero",
    "&group_by=event_type",
    "&event_type=b",
    "&event_type=a&event_type=b&fill=zero&group_by=event_type",
]


@pytest.fixture
def paged(api: Api) -> Api:
    """An API with events of two types in every second hour of a day."""
    api.service.ingest(
        [
            event(f"t-{hour}-{name}", event_type=name, timestamp=HOUR_ZERO + (hour + 0.5) * HOUR)
            for hour in range(0, 24, 2)
            for name in ("a", "b")
        ]
    )
    return api


@pytest.mark.parametrize("options", OPTIONS)
def test_all_pages_together_are_the_whole_answer(paged: Api, options: str) -> None:
    whole = settled(paged.buckets(CUT + options))
    assert whole["next"] is None
    for limit in (1, 2, 5, 11, 12, 13):
        pages = list(all_pages(paged, f"{CUT}{options}&limit={limit}"))
        assert [bucket for page in pages for bucket in page["buckets"]] == whole["buckets"]
        assert [len(page["buckets"]) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert 1 <= len(pages[-1]["buckets"]) <= limit
        for page in pages:
            assert {**page, "buckets": [], "next": None} == {**whole, "buckets": []}


def test_csv_pages_are_linked(paged: Api) -> None:
    # Escapes that must survive, and a parameter that is there twice.
    query = (
        "start=2021-03-01T02:30:00%2B01:00&end=2021-03-01T22:45:00Z"
        "&event_type=a&event_type=b&event_type=%26%2B%25%C3%A9&format=csv"
    )
    whole = paged.buckets(query)
    assert "link" not in whole.headers
    path = "/events/customers/acme/buckets"
    pages = [paged.get(f"{path}?{query}&limit=5")]
    while "link" in pages[-1].headers:
        link = re.fullmatch(r'<(.*)>; rel="next"', pages[-1].headers["link"])
        assert link
        pages.append(paged.get(path + link[1]))
        assert pages[-1].headers.get("link") != link[0], "the same page again"
    lines = [page.text.splitlines() for page in pages]
    assert [line for page in lines for line in page[1:]] == whole.text.splitlines()[1:]
    assert {page[0] for page in lines} == {"ts_start_of_hour,count,partial"}
    assert len(pages) == 3


def test_a_page_has_1_000_buckets_by_default(paged: Api) -> None:
    body = settled(paged.buckets("start=2021-03-01&end=2021-05-01&fill=zero"))
    assert [bucket["ts_start_of_hour"] for bucket in body["buckets"]] == [
        time_text(HOUR_ZERO + hour * HOUR) for hour in range(1_000)
    ]


def test_an_event_that_arrives_between_two_pages_moves_no_bucket(api: Api) -> None:
    for hour in (3, 9):
        api.service.ingest([event(f"t-{hour}", timestamp=HOUR_ZERO + hour * HOUR)])
    first = settled(api.buckets(f"{DAY_ONE}&limit=1"))
    assert first["buckets"] == [bucket("2021-03-01T03", 1)]
    api.service.ingest([event("t-0", timestamp=HOUR_ZERO)])
    second = settled(api.buckets(f"{DAY_ONE}&limit=1&cursor={first['next']}"))
    assert second["buckets"] == [bucket("2021-03-01T09", 1)]
    assert second["next"] is None


def test_a_cursor_of_an_earlier_version_still_works(paged: Api) -> None:
    """Its text is the start of the next bucket alone."""
    cursor = cursor_of("2021-03-01T22:00:00.000000Z")
    assert settled(paged.buckets(f"{DAY_ONE}&cursor={cursor}")) == answer(
        "2021-03-01T00:00", "2021-03-02T00:00", [bucket("2021-03-01T22", 2)], total=24
    )
