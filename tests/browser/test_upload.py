"""CSV files that the reader drops or chooses: their rows, receipts, retries and errors."""

from __future__ import annotations

import csv
import gzip
import io
import json

from playwright.sync_api import Route, expect

from events.api.schemas import AcceptedReceipts
from tests.browser.conftest import Open, Site, Tab

HEADER = b"customer_id,event_type,transaction_id,timestamp\n"
ROW = b"%s,e,t,2021-03-01T00:00:00Z\n"

_DROP = """([name, bytes]) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(bytes)], name));
    return files;
}"""
_WOULD_ASK_BEFORE_LEAVING = """() => !window.dispatchEvent(
    new Event("beforeunload", {cancelable: true}))"""

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
#: Of each rejected line, a word of its reason.
REASONS = {6: "timestamp", 7: "3 columns", 8: "quote", 9: "UTF-8", 10: "customer_id"}


def drop(tab: Tab, name: str, content: bytes) -> None:
    """Drop a file on the page."""
    files = tab.page.evaluate_handle(_DROP, [name, list(content)])
    tab.page.dispatch_event("body", "dragover", {"dataTransfer": files})
    expect(tab.locator("#drop")).to_be_visible()
    tab.page.dispatch_event("body", "drop", {"dataTransfer": files})
    expect(tab.locator("#drop")).to_be_hidden()


def expect_receipts(tab: Tab, inserted: int, duplicates: int, rejected: int) -> None:
    expect(tab.locator("#upload-state")).to_contain_text("Done")
    names = ("inserted", "duplicates", "voided", "rejected")
    assert [tab.text(f"#upload-{name}").replace(",", "") for name in names] == [
        str(number) for number in (inserted, duplicates, 0, rejected)
    ]


def rejected_lines(tab: Tab) -> list[int]:
    return [int(row[0].replace(",", "")) for row in tab.rows("#rejects-body")]


def test_every_row_of_a_dropped_file_gets_a_receipt(tab: Tab, site: Site) -> None:
    tab.open()
    drop(tab, "bad rows.csv", BAD)
    expect_receipts(tab, inserted=3, duplicates=1, rejected=5)
    rows = tab.rows("#rejects-body")
    assert rejected_lines(tab) == list(REASONS)
    for row, word in zip(rows, REASONS.values(), strict=True):
        assert word in row[1]
    name, path = tab.download("Download rejected rows")
    saved = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert name == "bad rows.csv.rejects.csv"
    assert saved[0] == ["line", "reason", "row"]
    assert [[row[0], row[1]] for row in saved[1:]] == [[row[0], row[1]] for row in rows]
    assert saved[3][2] == '2021-03-01T00:00:00Z,e,"open,4'
    tab.page.get_by_role("button", name="Show dropped").click()
    expect(tab.locator("#stat-total")).to_have_text("3")
    buckets = site.buckets("dropped", start="2021-03-01", end="2021-03-03", group_by="event_type")
    assert [bucket["counts"] for bucket in buckets["buckets"]] == [
        {"e": 1, 'a "quoted", type': 1},
        {"e": 1},
    ]


def test_a_gzip_file_goes_in_chunks_and_may_go_twice(tab: Tab, site: Site) -> None:
    lines = [f"many,e,t-{index},2021-03-01T{index % 24:02}:00:00Z" for index in range(2_010)]
    content = gzip.compress("\n".join(lines).encode())
    tab.open()
    tab.page.get_by_label("CSV file of events").set_input_files(
        {"name": "many.csv.gz", "mimeType": "application/gzip", "buffer": content}
    )
    expect_receipts(tab, inserted=2_010, duplicates=0, rejected=0)
    assert tab.requests.count(f"{site.url}/events") == 3
    tab.page.get_by_role("button", name="Close").click()
    drop(tab, "many.csv.gz", content)
    expect_receipts(tab, inserted=0, duplicates=2_010, rejected=0)
    assert site.buckets("many", start="2021-03-01", end="2021-03-02")["total"] == 2_010


def test_all_members_of_a_gzip_file_are_read(tab: Tab, site: Site) -> None:
    rows = [ROW.replace(b",t,", b",%d," % index) % b"members" for index in range(120)]
    members = [HEADER, *(b"".join(rows[start : start + 3]) for start in range(0, 120, 3)), b""]
    tab.open()
    drop(tab, "members.csv.gz", b"".join(map(gzip.compress, members)))
    expect_receipts(tab, inserted=120, duplicates=0, rejected=0)
    assert site.buckets("members", start="2021-03-01", end="2021-03-02")["total"] == 120


def test_columns_and_lines_are_those_of_the_file_in_every_chunk(tab: Tab, site: Site) -> None:
    good = [f"t-{index},2021-03-01T00:00:00Z,e,sliced\n" for index in range(2_010)]
    good[10] = "\n\r\n" + good[10]
    for index in (500, 999, 1_000, 2_009):
        good[index] = f"t-{index},soon,e,sliced\n"
    content = "transaction_id,timestamp,event_type,customer_id\n" + "".join(good)
    tab.open()
    drop(tab, "sliced.csv", content.encode())
    expect_receipts(tab, inserted=2_006, duplicates=0, rejected=4)
    assert rejected_lines(tab) == [504, 1_003, 1_004, 2_013]
    assert tab.rows("#rejects-body")[2][2] == "t-1000,soon,e,sliced"
    assert site.buckets("sliced", start="2021-03-01", end="2021-03-02")["total"] == 2_006


def test_a_later_header_is_skipped_wherever_it_stands(tab: Tab) -> None:
    # Two files that were joined. The second header is the first line of the second chunk.
    rows = b"".join(b"joined,e,%d,2021-03-01T00:00:00Z\n" % index for index in range(1_000))
    tab.open()
    drop(tab, "joined.csv", rows + HEADER + ROW % b"joined" + b"bad\n")
    expect_receipts(tab, inserted=1_001, duplicates=0, rejected=1)
    assert rejected_lines(tab) == [1_003]


def test_every_chunk_is_read_with_the_first_lines_of_the_file(tab: Tab, site: Site) -> None:
    # The other order of columns would be another customer.
    first = b"sep=;\r\ntransaction_id;event_type;customer_id;timestamp;\r\n"
    rows = b"".join(b"%d;e;excel;2021-03-01T00:00:00Z;\r\n" % index for index in range(1_010))
    tab.open()
    drop(tab, "excel.csv", first + rows + b";;;;\r\n" * 1_500)
    expect_receipts(tab, inserted=1_010, duplicates=0, rejected=0)
    assert site.buckets("excel", start="2021-03-01", end="2021-03-02")["total"] == 1_010
    without = b"".join(b"pipes|e|%d|2021-03-01T00:00:00Z\n" % index for index in range(1_010))
    drop(tab, "pipes.txt", without + b"bad\n")
    expect_receipts(tab, inserted=1_010, duplicates=0, rejected=1)
    assert rejected_lines(tab) == [1_011]


def test_rows_that_are_all_rejected_have_reasons_too(tab: Tab) -> None:
    tab.expected = {400}
    tab.open()
    drop(tab, "none.csv", HEADER + b"a,e,t,today\na,e,t,tomorrow\n")
    expect_receipts(tab, inserted=0, duplicates=0, rejected=2)
    assert rejected_lines(tab) == [2, 3]
    assert all("timestamp: " in row[1] for row in tab.rows("#rejects-body"))


def test_a_busy_service_gets_the_same_rows_again(tab: Tab, site: Site) -> None:
    tab.expected = {429, 503}
    bodies: list[bytes | None] = []
    answers = [503, 429]

    def refuse(route: Route) -> None:
        bodies.append(route.request.post_data_buffer)
        if not answers:
            route.continue_()
            return
        problem = {"title": "Busy", "detail": "wait", "errors": []}
        status = answers.pop(0)
        route.fulfill(status=status, body=json.dumps(problem), headers={"Retry-After": "1"})

    tab.page.route(f"{site.url}/events", refuse)
    tab.open()
    drop(tab, "busy.csv", ROW % b"busy")
    expect(tab.locator("#upload-state")).to_contain_text("The service is busy")
    expect_receipts(tab, inserted=1, duplicates=0, rejected=0)
    assert bodies == [ROW % b"busy" + b"\n"] * 3


def test_rows_are_sent_again_if_the_receipts_are_cut_off(tab: Tab, site: Site) -> None:
    answers = ['{"inserted": 1, "dupl']

    def cut_off(route: Route) -> None:
        if answers:
            # The service stores the events, but only the start of its answer arrives.
            route.fetch()
            route.fulfill(body=answers.pop(), content_type="application/json")
        else:
            route.continue_()

    tab.page.route(f"{site.url}/events", cut_off)
    tab.open()
    drop(tab, "cut.csv", ROW % b"cut")
    expect(tab.locator("#upload-state")).to_contain_text("The service is not responding")
    expect_receipts(tab, inserted=0, duplicates=1, rejected=0)
    expect(tab.locator("#upload-state")).to_contain_text("Some rows were sent again")


def test_rows_for_kafka_are_accepted_and_counted_later(tab: Tab, site: Site) -> None:
    receipts = AcceptedReceipts(
        accepted=1,
        rejected=1,
        results=[
            {"index": 0, "line": 1, "status": "accepted"},
            {"index": 1, "line": 2, "status": "rejected", "error": "timestamp: is invalid"},
        ],
    )
    tab.page.route(
        f"{site.url}/events",
        lambda route: route.fulfill(status=207, json=receipts.model_dump()),
    )
    tab.open()
    drop(tab, "kafka.csv", ROW % b"kafka" + b"kafka,e,t,soon\n")
    expect(tab.locator("#upload-state")).to_have_text(
        "Done: 1 row accepted, 1 rejected. Accepted rows are counted a little later."
    )
    assert tab.text("#upload dl").split("\n") == ["Accepted", "1", "Rejected", "1"]
    assert tab.rows("#rejects-body") == [["2", "timestamp: is invalid", "kafka,e,t,soon"]]
    expect(tab.page.get_by_role("button", name="Show kafka")).to_be_visible()


def test_a_second_file_must_wait_for_the_first(tab: Tab, site: Site) -> None:
    first = tab.hold(f"{site.url}/events")
    tab.open()
    drop(tab, "first.csv", ROW % b"first")
    first.wait()
    drop(tab, "second.csv", ROW % b"second")
    expect(tab.locator("#toast")).to_have_text(
        "Still adding first.csv. Add the next file when it is done."
    )
    assert tab.page.evaluate(_WOULD_ASK_BEFORE_LEAVING)
    first.release()
    expect_receipts(tab, inserted=1, duplicates=0, rejected=0)
    expect(tab.locator("#upload-title")).to_have_text("Added first.csv")
    assert not tab.page.evaluate(_WOULD_ASK_BEFORE_LEAVING)
    tab.page.get_by_role("button", name="Close").press("Enter")
    expect(tab.page.get_by_role("button", name="Add events")).to_be_focused()


def test_an_upload_can_be_stopped_while_it_waits(tab: Tab, site: Site) -> None:
    tab.expected = {503}
    tab.page.route(
        f"{site.url}/events",
        lambda route: route.fulfill(
            status=503, body="a proxy's page", headers={"Retry-After": "30"}
        ),
    )
    tab.open()
    drop(tab, "stopped.csv", ROW % b"stopped")
    expect(tab.locator("#upload-state")).to_contain_text("The service is busy")
    tab.page.get_by_role("button", name="Stop").click()
    expect(tab.locator("#upload-state")).to_contain_text("It is safe to add the whole file again.")


def test_an_upload_waits_for_a_key_and_goes_on(new_tab: Open, guarded_site: Site) -> None:
    tab = new_tab(guarded_site)
    tab.expected = {401, 403}
    tab.open()
    drop(tab, "keyed.csv", ROW % b"keyed")
    expect(tab.locator("#panel-title")).to_have_text("API key required")
    token = guarded_site.create_key("--name", "both", "--right", "read", "--right", "ingest")
    tab.page.get_by_label("API key").fill(token)
    tab.page.get_by_role("button", name="Use key").click()
    expect_receipts(tab, inserted=1, duplicates=0, rejected=0)
    reader = guarded_site.create_key("--name", "reader", "--right", "read")
    tab.page.get_by_role("button", name="Forget key").click()
    tab.page.get_by_label("API key").fill(reader)
    tab.page.get_by_role("button", name="Use key").click()
    drop(tab, "keyed.csv", ROW % b"keyed")
    expect(tab.locator("#upload-state")).to_contain_text("right 'ingest'")


def test_a_file_without_rows_is_refused_with_the_reason(tab: Tab) -> None:
    tab.expected = {400}
    tab.open()
    for name, content, reason in (
        ("empty", b"", "Done: the file has no rows."),
        ("columns", b"customer_id,event_type\na,b\n", "customer_id"),
        ("header", HEADER, "has no rows"),
        ("unknown", b"a,b,c,d\n", "neither an event nor a header"),
        ("json", b'{"customer_id": "c"}\n', "is JSON, not CSV"),
        ("zip", b"PK\x03\x04....", "a zip archive or an Excel workbook"),
        ("gzip", b"\x1f\x8bnothing", "Cannot read the file: "),
        ("line", gzip.compress(b"x" * 3_000_000, mtime=0), "Line 1 does not end"),
        ("half", gzip.compress(HEADER + ROW % b"half", mtime=0)[:-9], "Cannot read the file: "),
    ):
        drop(tab, name, content)
        expect(tab.locator("#upload-title")).to_contain_text(name)
        expect(tab.locator("#upload-state")).to_contain_text(reason)
        assert tab.text("#upload-inserted") == "0", name


def test_a_file_is_added_again_with_options(tab: Tab, site: Site) -> None:
    """Columns with other names, and local times of Berlin in the German form."""
    tab.expected = {400}
    rows = b"".join(
        b"%d;01.03.2021 01:%02d;mapped;e\n" % (index, index % 60) for index in range(1_010)
    )
    tab.open()
    drop(tab, "german.csv", b"Nr;Zeit;Kunde;event\n" + rows)
    expect(tab.locator("#upload-state")).to_contain_text("add the parameter columns")
    tab.page.get_by_label("Columns with other names").fill(
        "customer_id=Kunde,transaction_id=Nr,timestamp=Zeit"
    )
    again = tab.page.get_by_role("button", name="Add the file again")
    again.click()
    expect_receipts(tab, inserted=0, duplicates=0, rejected=1_010)
    assert "day first" in tab.rows("#rejects-body")[0][1]
    tab.page.get_by_label("Format of times").fill("%d.%m.%Y %H:%M")
    tab.page.get_by_label("Time zone of times without one").fill("Mars/Base")
    again.click()
    expect(tab.locator("#upload-state")).to_contain_text("unknown time zone 'Mars/Base'")
    tab.page.get_by_label("Time zone of times without one").fill("Europe/Berlin")
    again.click()
    expect_receipts(tab, inserted=1_010, duplicates=0, rejected=0)
    expect(tab.locator("#upload-options")).to_be_hidden()
    expect(tab.page.get_by_role("button", name="Show mapped")).to_be_visible()
    assert site.buckets("mapped", start="2021-03-01", end="2021-03-02")["total"] == 1_010
    drop(tab, "other.csv", HEADER + ROW % b"other" + b"bad\n")
    expect_receipts(tab, inserted=1, duplicates=0, rejected=1)
    expect(tab.page.get_by_label("Format of times")).to_have_value("")
