"""Files that come to the page, and files that the page gives."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from events.api.schemas import AcceptedReceipts
from tests.browser.conftest import Open, Site, Tab

_DROP = """([name, bytes]) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(bytes)], name));
    return files;
}"""


def drop(tab: Tab, name: str, content: bytes) -> None:
    """Drop a file on the page, as a hand would."""
    files = tab.page.evaluate_handle(_DROP, [name, list(content)])
    tab.page.dispatch_event("body", "dragover", {"dataTransfer": files})
    expect(tab.locator("#drop")).to_be_visible()
    tab.page.dispatch_event("body", "drop", {"dataTransfer": files})
    expect(tab.locator("#drop")).to_be_hidden()


def expect_receipts(tab: Tab, inserted: int, duplicates: int, rejected: int) -> None:
    expect(tab.locator("#upload-state")).to_contain_text("Done", timeout=15_000)
    kinds = ("inserted", "duplicates", "voided", "rejected")
    assert [tab.text(f"#upload-{kind}").replace(",", "") for kind in kinds] == [
        str(number) for number in (inserted, duplicates, 0, rejected)
    ]


def downloaded(tab: Tab, click: Callable[[], None]) -> tuple[str, bytes]:
    with tab.page.expect_download() as waiting:
        click()
    path = waiting.value.path()
    return waiting.value.suggested_filename, Path(path).read_bytes()


BAD = (
    b"\xef\xbb\xbfTimestamp,event_type, customer_id ,transaction_id\r\n"
    b"2021-03-01T00:00:00Z,e,dropped,1\r\n"
    b"2021-03-01T00:00:00Z,e,dropped,1\r\n"
    b"\r\n"
    b'2021-03-01 01:00:00+01,"a ""quoted"", type",dropped,2\r\n'
    b"yesterday,e,dropped,3\r\n"
    b"2021-03-01T00:00:00Z,e,dropped\r\n"
    b'2021-03-01T00:00:00Z,e,"open,4\r\n'
    b"2021-03-01T00:00:00Z,e,\xff,5\r\n"
    b"2021-03-01T00:00:00Z,e, dropped,6\r\n"
    b"2021-03-02T05:00:00Z,e,dropped,7"
)
REASONS = [
    [6, "timestamp"],
    [7, "has 3 columns, not 4"],
    [8, "opens a quote that does not close on the same line"],
    [9, "is not valid UTF-8"],
    [10, "customer_id: has white space at its start or end"],
]


def test_a_dropped_file_is_sent_and_every_row_has_a_receipt(tab: Tab, site: Site) -> None:
    tab.open()
    drop(tab, "bad rows.csv", BAD)
    expect_receipts(tab, inserted=3, duplicates=1, rejected=5)
    rows = tab.rows("#rejects-body")
    assert [int(row[0]) for row in rows] == [line for line, _ in REASONS]
    for row, (_, reason) in zip(rows, REASONS, strict=True):
        assert row[1].startswith(str(reason))
    save = tab.page.get_by_role("button", name="Download rejected rows")
    name, content = downloaded(tab, save.click)
    saved = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert name == "bad rows.csv.rejects.csv"
    assert saved[0] == ["line", "reason", "row"]
    assert [[int(row[0]), row[1]] for row in saved[1:]] == [[int(row[0]), row[1]] for row in rows]
    assert saved[3][2] == '2021-03-01T00:00:00Z,e,"open,4'
    tab.page.get_by_role("button", name="Show dropped").click()
    expect(tab.locator("#stat-total")).to_have_text("3")
    buckets = site.buckets("dropped", start="2021-03-01", end="2021-03-03", group_by="event_type")
    assert [bucket["counts"] for bucket in buckets["buckets"]] == [
        {"e": 1, 'a "quoted", type': 1},
        {"e": 1},
    ]


def test_a_file_of_thousands_goes_in_chunks_and_again_is_all_duplicates(
    tab: Tab, site: Site
) -> None:
    lines = [f"many,e,t-{place},2021-03-01T{place % 24:02}:00:00Z" for place in range(2_500)]
    content = gzip.compress("\n".join(lines).encode())
    tab.open()
    tab.page.get_by_label("CSV file of events").set_input_files(
        {"name": "many.csv.gz", "mimeType": "application/gzip", "buffer": content}
    )
    expect_receipts(tab, inserted=2_500, duplicates=0, rejected=0)
    assert len([url for url in tab.requests if url == f"{site.url}/events"]) == 3
    tab.page.get_by_role("button", name="Close").click()
    drop(tab, "many.csv.gz", content)
    expect_receipts(tab, inserted=0, duplicates=2_500, rejected=0)
    assert site.buckets("many", start="2021-03-01", end="2021-03-02")["total"] == 2_500


def test_rows_that_are_all_rejected_have_their_reasons_too(tab: Tab) -> None:
    tab.expected = {400}
    tab.open()
    drop(tab, "none.csv", b"a,e,t,today\na,e,t,tomorrow\n")
    expect_receipts(tab, inserted=0, duplicates=0, rejected=2)
    assert [row[0] for row in tab.rows("#rejects-body")] == ["1", "2"]
    assert all(row[1].startswith("timestamp: ") for row in tab.rows("#rejects-body"))


def test_a_service_that_is_busy_is_sent_the_same_again_when_it_says(tab: Tab, site: Site) -> None:
    tab.expected = {429, 503}
    bodies: list[str | None] = []
    answers = [503, 429]

    def refuse(route: Route) -> None:
        bodies.append(route.request.post_data)
        if not answers:
            route.continue_()
            return
        problem = {"title": "Busy", "detail": "wait", "errors": []}
        status = answers.pop(0)
        route.fulfill(status=status, body=json.dumps(problem), headers={"Retry-After": "1"})

    tab.page.route(f"{site.url}/events", refuse)
    tab.open()
    drop(tab, "busy.csv", b"busy,e,t,2021-03-01T00:00:00Z\n")
    expect(tab.locator("#upload-state")).to_contain_text("The service is busy")
    expect_receipts(tab, inserted=1, duplicates=0, rejected=0)
    assert len(bodies) == 3
    assert len(set(bodies)) == 1


def test_receipts_that_break_off_are_asked_for_again(tab: Tab, site: Site) -> None:
    answers = ['{"inserted": 1, "dupl']

    def break_off(route: Route) -> None:
        if answers:
            # The events are stored: of the answer only the beginning arrives.
            route.fetch()
            route.fulfill(body=answers.pop(), content_type="application/json")
        else:
            route.continue_()

    tab.page.route(f"{site.url}/events", break_off)
    tab.open()
    drop(tab, "cut.csv", b"cut,e,t,2021-03-01T00:00:00Z\n")
    expect(tab.locator("#upload-state")).to_contain_text("The service is not responding")
    expect_receipts(tab, inserted=0, duplicates=1, rejected=0)
    expect(tab.locator("#upload-state")).to_contain_text(
        "Some rows were sent again after a missing response"
    )


def test_where_events_go_to_kafka_rows_are_accepted_and_counted_later(tab: Tab, site: Site) -> None:
    receipts = AcceptedReceipts(
        accepted=1,
        rejected=1,
        results=[
            {"index": 0, "status": "accepted"},
            {"index": 1, "status": "rejected", "error": "timestamp: is none"},
        ],
    )
    tab.page.route(
        f"{site.url}/events",
        lambda route: route.fulfill(status=207, json=receipts.model_dump()),
    )
    tab.open()
    drop(tab, "kafka.csv", b"kafka,e,t,2021-03-01T00:00:00Z\nkafka,e,t,soon\n")
    expect(tab.locator("#upload-state")).to_have_text(
        "Done: 1 row accepted, 1 rejected. Accepted rows are counted a little later."
    )
    assert tab.text("#upload dl").split("\n") == ["Accepted", "1", "Rejected", "1"]
    assert tab.rows("#rejects-body") == [["2", "timestamp: is none", "kafka,e,t,soon"]]
    expect(tab.page.get_by_role("button", name="Show kafka")).to_be_visible()


def test_a_second_file_waits_for_the_first_and_is_told_so(tab: Tab, site: Site) -> None:
    held: list[Route] = []
    tab.page.route(f"{site.url}/events", lambda route: held.append(route))
    tab.open()
    with tab.page.expect_request(f"{site.url}/events"):
        drop(tab, "first.csv", b"first,e,t,2021-03-01T00:00:00Z\n")
    drop(tab, "second.csv", b"second,e,t,2021-03-01T00:00:00Z\n")
    expect(tab.locator("#toast")).to_have_text(
        "Still adding first.csv. Add the next file when it is done."
    )
    # Who leaves the page is asked whether to, as long as a file is on its way.
    leave = """() => {
        const leaving = new Event("beforeunload", {cancelable: true});
        return !window.dispatchEvent(leaving);
    }"""
    assert tab.page.evaluate(leave)
    held.pop().continue_()
    expect_receipts(tab, inserted=1, duplicates=0, rejected=0)
    expect(tab.locator("#upload-title")).to_have_text("Added first.csv")
    assert not tab.page.evaluate(leave)
    tab.page.get_by_role("button", name="Close").press("Enter")
    expect(tab.page.get_by_role("button", name="Add events")).to_be_focused()


@pytest.mark.parametrize("content", [b"", b"customer_id,event_type,transaction_id,timestamp\n"])
def test_a_file_without_rows_is_said_to_have_none(tab: Tab, content: bytes) -> None:
    tab.open()
    drop(tab, "empty.csv", content)
    expect(tab.locator("#upload-state")).to_have_text("Done: the file has no rows.")


def test_a_file_can_be_stopped_while_it_waits(tab: Tab, site: Site) -> None:
    tab.expected = {503}
    tab.page.route(
        f"{site.url}/events",
        lambda route: route.fulfill(
            status=503, body="a proxy's page", headers={"Retry-After": "30"}
        ),
    )
    tab.open()
    drop(tab, "stopped.csv", b"stopped,e,t,2021-03-01T00:00:00Z\n")
    expect(tab.locator("#upload-state")).to_contain_text("The service is busy")
    tab.page.get_by_role("button", name="Stop").click()
    expect(tab.locator("#upload-state")).to_contain_text("It is safe to add the whole file again.")


def test_a_file_without_a_key_asks_for_one_and_goes_on(new_tab: Open, guarded_site: Site) -> None:
    tab = new_tab(guarded_site)
    tab.expected = {401, 403}
    tab.open()
    drop(tab, "keyed.csv", b"keyed,e,t,2021-03-01T00:00:00Z\n")
    expect(tab.locator("#panel-title")).to_have_text("API key required")
    token = guarded_site.create_key("--name", "both", "--right", "read", "--right", "ingest")
    tab.page.get_by_label("API key").fill(token)
    tab.page.get_by_role("button", name="Use key").click()
    expect_receipts(tab, inserted=1, duplicates=0, rejected=0)
    forgetful = guarded_site.create_key("--name", "reader", "--right", "read")
    tab.page.get_by_role("button", name="Forget key").click()
    tab.page.get_by_label("API key").fill(forgetful)
    tab.page.get_by_role("button", name="Use key").click()
    drop(tab, "keyed.csv", b"keyed,e,t,2021-03-01T00:00:00Z\n")
    expect(tab.locator("#upload-state")).to_contain_text("has no right to")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"customer_id,event_type\na,b\n", "the columns are customer_id"),
        (b"customer_id;event_type;transaction_id;timestamp\n", 'separated by ";"'),
        (b"PK\x03\x04....", "is a zip archive or a spreadsheet"),
        (b"\x1f\x8bnothing", "cannot be read to its end"),
    ],
)
def test_a_file_that_is_no_csv_of_events_is_refused(tab: Tab, content: bytes, reason: str) -> None:
    tab.open()
    drop(tab, "other", content)
    expect(tab.locator("#upload-state")).to_contain_text(reason)
