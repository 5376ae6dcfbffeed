"""The Python client against a real server: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from events.client import AsyncClient, Bucket, Client, Event, QueueFull, Receipt, RequestFailed
from tests.support.factories import DAY, HOUR, HOUR_ZERO, event, many_events
from tests.support.served_http import BUSY, CUT, JUNK, LOST, PROXY, Faults, api_on, served
from tests.support.shell import CHECKOUT, free_port, until
from tests.support.sqlstore import MemoryStore

EVENTS = many_events(1_200)
CUSTOMER = "customer-0"
END = HOUR_ZERO + DAY
PATIENCE = 60.0


def counted(url: str) -> int:
    return Client(url).count(CUSTOMER, HOUR_ZERO, END)


def test_every_event_is_counted_and_has_its_receipt(memory: MemoryStore) -> None:
    receipts: list[Receipt] = []
    with served(api_on(memory)) as url, Client(url, on_receipt=receipts.append) as client:
        for sent in [*EVENTS, *EVENTS[:5]]:
            client.send(sent)
        assert client.flush(PATIENCE)
        assert client.count(CUSTOMER, HOUR_ZERO, END) == len(EVENTS)
    assert [receipt.event for receipt in receipts] == [*EVENTS, *EVENTS[:5]]
    assert Counter(receipt.status for receipt in receipts) == {"inserted": 1_200, "duplicate": 5}


def test_a_batch_leaves_by_its_age_without_a_flush(memory: MemoryStore) -> None:
    with served(api_on(memory)) as url, Client(url, batch_seconds=0.01) as client:
        client.send(EVENTS[0])
        until(lambda: client.count(CUSTOMER, HOUR_ZERO, END) == 1)


@pytest.mark.parametrize("fault", [BUSY, PROXY, JUNK, CUT, LOST])
def test_a_failed_batch_is_sent_again(memory: MemoryStore, fault: str) -> None:
    receipts: list[Receipt] = []
    faults = Faults(api_on(memory), fault, fault)
    with served(faults) as url, Client(url, on_receipt=receipts.append) as client:
        client.send(EVENTS[0])
        assert client.flush(PATIENCE)
        assert faults.requests == 3
        assert counted(url) == 1
    assert receipts == [Receipt(EVENTS[0], "duplicate" if fault == LOST else "inserted")]


def test_events_wait_for_a_server_that_is_down(memory: MemoryStore) -> None:
    port = free_port()
    with Client(f"http://127.0.0.1:{port}", batch_seconds=0) as client:
        for sent in EVENTS:
            client.send(sent)
        assert not client.flush(0.5)
        with served(api_on(memory), port=port) as url:
            assert client.flush(PATIENCE)
            assert counted(url) == len(EVENTS)


def test_invalid_events_are_rejected_alone(
    memory: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = event("", customer_id=CUSTOMER)
    receipts: list[Receipt] = []
    with served(api_on(memory)) as url:
        with Client(url, on_receipt=receipts.append) as client:
            for sent in (wrong, EVENTS[0]):  # a 207
                client.send(sent)
            assert client.flush(PATIENCE)
            client.send(wrong)  # a 400
            assert client.flush(PATIENCE)
        with caplog.at_level(logging.ERROR), Client(url) as client:
            client.send(wrong)
            assert client.flush(PATIENCE)
        assert counted(url) == 1
    rejected = Receipt(wrong, "rejected", "transaction_id: is empty")
    assert receipts == [rejected, Receipt(EVENTS[0], "inserted"), rejected]
    assert "event rejected: transaction_id: is empty" in caplog.text


def test_only_the_event_that_is_too_large_is_rejected(memory: MemoryStore) -> None:
    receipts: list[Receipt] = []
    large = event("t" * 5_000_000, customer_id=CUSTOMER)
    with served(api_on(memory)) as url, Client(url, on_receipt=receipts.append) as client:
        for sent in (*EVENTS[:3], large, *EVENTS[3:6]):
            client.send(sent)
        assert client.flush(PATIENCE)
        assert counted(url) == 6
    assert [r.event for r in receipts if r.status == "rejected"] == [large]
    assert [r.event for r in receipts if r.status == "inserted"] == EVENTS[:6]


def test_a_full_queue_refuses_events_and_takes_them_later(memory: MemoryStore) -> None:
    port = free_port()
    with Client(f"http://127.0.0.1:{port}", max_queued_bytes=1_000) as client:
        queued = 7  # of about 130 bytes each
        for sent in EVENTS[:queued]:
            client.send(sent)
        with pytest.raises(QueueFull, match="7 events wait for the API"):
            client.send(EVENTS[queued])
        with served(api_on(memory), port=port) as url:
            assert client.flush(PATIENCE)
            client.send(EVENTS[queued])
            assert client.flush(PATIENCE)
            assert counted(url) == queued + 1


def test_what_send_cannot_queue_is_an_error_at_once() -> None:
    client = Client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ValueError, match="no time zone"):
        client.send(event(timestamp=datetime(2021, 3, 1)))  # noqa: DTZ001 - what is tested
    assert client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.send(EVENTS[0])
    with pytest.raises(ValueError, match="is not an address"):
        Client("localhost:8800")


def test_a_wrong_callback_stops_nothing(
    memory: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Receipt) -> None:
        raise KeyError("a bug")

    with served(api_on(memory)) as url, Client(url, on_receipt=fail) as client:
        for sent in EVENTS[:2]:
            client.send(sent)
            assert client.flush(PATIENCE)
        assert counted(url) == 2
    assert caplog.text.count("no receipt given for") == 2


# --- events in files ------------------------------------------------------------------------------


def test_events_of_a_killed_process_are_sent_by_the_next(
    memory: MemoryStore, tmp_path: Path
) -> None:
    script = (
        "import itertools, sys\n"
        "from events.client import Client, Event\n"
        "from datetime import UTC, datetime\n"
        "client = Client(sys.argv[1], spill_folder=sys.argv[2])\n"
        "for n in itertools.count():\n"
        "    client.send(Event('customer-0', 'a', f't-{n}', datetime(2021, 3, 1, tzinfo=UTC)))\n"
        "    print(n, flush=True)\n"
    )
    folder = tmp_path / "spill"
    address = f"http://127.0.0.1:{free_port()}"  # nobody answers there
    process = subprocess.Popen(
        [sys.executable, "-c", script, address, str(folder)], cwd=CHECKOUT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if int(line) == 10_000:  # more than one file
                break
        process.send_signal(signal.SIGKILL)
        printed = max([10_000, *(int(line) for line in output if line.endswith(b"\n"))])
    process.wait()
    # What a process leaves that is killed inside a write:
    (folder / "999999999999.jsonl").write_bytes(b'{"customer_id": "cut o')
    with served(api_on(memory)) as url:
        with Client(url, spill_folder=folder) as client:
            assert client.flush(PATIENCE)
        assert counted(url) in (printed + 1, printed + 2)  # the last one may not be printed yet
    assert [file.name for file in folder.iterdir()] == ["lock"]


def test_unsent_events_stay_in_the_folder(memory: MemoryStore, tmp_path: Path) -> None:
    client = Client(f"http://127.0.0.1:{free_port()}", spill_folder=tmp_path)
    for sent in EVENTS:
        client.send(sent)
    with pytest.raises(ValueError, match="another client uses"):
        Client("http://127.0.0.1:1", spill_folder=tmp_path)
    assert not client.close(timeout_seconds=0)
    receipts: list[Receipt] = []
    with served(api_on(memory)) as url:
        with Client(url, spill_folder=tmp_path, on_receipt=receipts.append) as client:
            assert client.flush(PATIENCE)
        assert counted(url) == len(EVENTS)
    assert [receipt.event for receipt in receipts] == EVENTS


# --- the end of the process, asyncio, reading -----------------------------------------------------


def test_python_sends_what_waits_when_it_exits(memory: MemoryStore) -> None:
    script = (
        "import sys\n"
        "from events.client import Client, Event\n"
        "from datetime import UTC, datetime\n"
        "client = Client(sys.argv[1], batch_seconds=3600)\n"
        "for n in range(3):\n"
        "    client.send(Event('customer-0', 'a', f't-{n}', datetime(2021, 3, 1, tzinfo=UTC)))\n"
    )
    with served(api_on(memory)) as url:
        subprocess.run([sys.executable, "-c", script, url], cwd=CHECKOUT, check=True, timeout=240)
        assert counted(url) == 3


def test_the_asyncio_client_sends_and_reads(memory: MemoryStore) -> None:
    async def use(url: str) -> tuple[int, list[Bucket]]:
        async with AsyncClient(url) as client:
            client.send(EVENTS[0])
            assert await client.flush(PATIENCE)
            count = await client.count(CUSTOMER, HOUR_ZERO, END)
            return count, await client.buckets(CUSTOMER, HOUR_ZERO, END, window="day")

    with served(api_on(memory)) as url:
        assert asyncio.run(use(url)) == (1, [Bucket(HOUR_ZERO, 1, False)])


def test_buckets_reads_all_pages(memory: MemoryStore) -> None:
    sent = [
        Event("a/b ü", "x" if n % 3 else "y", f"t-{n}", HOUR_ZERO + n * HOUR) for n in range(1_100)
    ]
    half = timedelta(minutes=30)
    end = sent[-1].timestamp + half
    with served(api_on(memory)) as url, Client(url) as client:
        for one in sent:
            client.send(one)
        assert client.flush(PATIENCE)
        buckets = list(client.buckets("a/b ü", HOUR_ZERO, end))
        assert buckets == [Bucket(e.timestamp, 1, e is sent[-1]) for e in sent]
        assert client.count("a/b ü", HOUR_ZERO, end, event_types=["y"]) == 367
        days = client.buckets(
            "a/b ü", HOUR_ZERO, END, window="day", timezone="Asia/Tokyo", event_types=["x", "y"]
        )
        assert [(bucket.start.utcoffset(), bucket.count) for bucket in days] == [
            (9 * HOUR, 15),
            (9 * HOUR, 9),
        ]
        with pytest.raises(RequestFailed, match=r"HTTP 400: start: .* is after end") as caught:
            client.count("a", END, HOUR_ZERO)
        assert caught.value.status == 400
