"""A client of the HTTP API: sends events in the background and reads counts. See docs/client.md."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from events.client.queues import DiskQueue, MemoryQueue, QueueFull
from events.client.reader import Bucket, Reader, RequestFailed
from events.models import Event

__all__ = ["AsyncClient", "Bucket", "Client", "Event", "QueueFull", "Receipt", "RequestFailed"]

log = logging.getLogger(__name__)

_FIRST_DELAY_SECONDS, _MAX_DELAY_SECONDS = 0.1, 30.0
#: `events.3.timestamp` in the errors of an answer: the event with index 3.
_PLACE = re.compile(r"events\.([0-9]+)(?:\.(.+))?")


class Receipt(NamedTuple):
    """What became of an event: `inserted`, `duplicate`, `voided`, `accepted` or `rejected`."""

    event: Event
    status: str
    error: str | None = None


class Client(Reader):
    """
    Sends events in the background, and reads counts; safe to use from many threads.

    Events are sent in batches, again and again until the API has answered for each: a retry is
    always safe. Create the client after a process forks, because threads do not survive a fork.

    Args:
        url: Address of the API, such as `https://events.example.com`.
        key: An API key, if the API needs one.
        batch_events: A batch is sent when it has this many events, at most 1,000 …
        batch_seconds: … or when its first event has waited this long.
        max_queued_bytes: Memory for events that wait; when it is full, `send` raises `QueueFull`.
        spill_folder: Events wait in files of this folder instead of in memory, so that they survive
            a crash of the process. The next client with this folder sends what is left.
        on_receipt: Called with each receipt, in the sending thread. Without it, rejected events
            are logged.
        timeout_seconds: How long the API may be silent during a request.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        batch_events: int = 500,
        batch_seconds: float = 1.0,
        max_queued_bytes: int = 67_108_864,
        spill_folder: Path | str | None = None,
        on_receipt: Callable[[Receipt], None] | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        super().__init__(url, key, timeout_seconds=timeout_seconds)
        self._batch_events = batch_events
        self._batch_seconds = batch_seconds
        self._on_receipt = on_receipt
        # Both count lines from the start of the client; a line is settled when it has its receipt.
        self._queued = self._settled = 0
        self._flush_to = 0
        self._due_at = 0.0
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._queue: DiskQueue | MemoryQueue = MemoryQueue(max_queued_bytes)
        if spill_folder is not None:
            self._queue = DiskQueue(Path(spill_folder))
            self._queued = len(self._queue)
        self._thread = threading.Thread(target=self._run, name="events-client", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # --- sending ----------------------------------------------------------------------------------

    def send(self, event: Event) -> None:
        """
        Queue an event without waiting for the API.

        Raises:
            ValueError: The timestamp has no time zone.
            QueueFull: The queue is full because the API is slower than the events, or is down.
            RuntimeError: The client is closed.
            OSError: The spill folder cannot be written.
        """
        if event.timestamp.tzinfo is None:
            raise ValueError("the timestamp has no time zone: use datetime.now(UTC), for example")
        fields = event._replace(timestamp=event.timestamp.astimezone(UTC))._asdict()
        line = json.dumps(fields, default=datetime.isoformat).encode() + b"\n"
        with self._changed:
            if self._stopped.is_set():
                raise RuntimeError("the client is closed")
            self._queue.append(line)
            if self._queued == self._settled:
                self._due_at = time.monotonic() + self._batch_seconds
                self._changed.notify_all()
            self._queued += 1
            if self._queued - self._settled == self._batch_events:
                self._changed.notify_all()

    def flush(self, timeout_seconds: float | None = None) -> bool:
        """Wait until everything queued so far has its receipt; False if the time is over."""
        with self._changed:
            target = self._flush_to = self._queued
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= target, timeout_seconds)

    def close(self, timeout_seconds: float = 5.0) -> bool:
        """
        Flush and stop; Python calls this when it exits.

        Returns False if events are left: they are in the spill folder, or lost without one.
        """
        is_flushed = self.flush(timeout_seconds)
        with self._changed:
            if not self._stopped.is_set():
                self._stopped.set()
                self._changed.notify_all()
                if not is_flushed:
                    left = self._queued - self._settled
                    log.error("%s events were not sent before the client was closed", left)
                self._queue.close()
        atexit.unregister(self.close)
        return is_flushed

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        size, delay = self._batch_events, _FIRST_DELAY_SECONDS
        while lines := self._next_batch(size):
            try:
                receipts = self._post(lines)
            except Exception as exc:  # noqa: BLE001 - whatever fails, the events are sent again
                if getattr(exc, "status", 0) not in (400, 413):
                    log.warning("%s events not sent, trying again: %s", len(lines), exc)
                    wait = max(random.uniform(0, delay), getattr(exc, "retry_after_seconds", 0))  # noqa: S311 - jitter
                    delay = min(2 * delay, _MAX_DELAY_SECONDS)
                    self._stopped.wait(min(wait, _MAX_DELAY_SECONDS))
                    continue
                if len(lines) > 1:
                    size = len(lines) // 2  # find the event that the API cannot read
                    continue
                receipts = [("rejected", str(exc))]
            size, delay = self._batch_events, _FIRST_DELAY_SECONDS
            for line, receipt in zip(lines, receipts, strict=True):
                self._report(line, *receipt)
            with self._changed:
                if not self._stopped.is_set():
                    self._queue.drop(lines)
                    self._settled += len(lines)
                    self._due_at = time.monotonic() + self._batch_seconds
                    self._changed.notify_all()

    def _next_batch(self, size: int) -> list[bytes]:
        """Wait until a batch is due; empty once the client is closed."""
        with self._changed:
            while not self._stopped.is_set():
                waiting = self._queued - self._settled
                rest = self._due_at - time.monotonic()
                is_due = rest <= 0 or waiting >= size or self._settled < self._flush_to
                if waiting and is_due:
                    return self._queue.first(size)
                self._changed.wait(rest if waiting else None)
        return []

    def _post(self, lines: Sequence[bytes]) -> list[tuple[str, str | None]]:
        """Send a batch; returns the status of each event, and the reason of each rejection."""
        body = b'{"events":[' + b",".join(lines) + b"]}"
        try:
            results = self.request("POST", "/events", body)["results"]
        except RequestFailed as exc:
            rejections = dict(map(_rejection, exc.errors)) if exc.status == 400 else {}
            if rejections.keys() != set(range(len(lines))):
                raise
            return [("rejected", rejections[index]) for index in range(len(lines))]
        if [result["index"] for result in results] != list(range(len(lines))):
            raise ValueError("the answer does not have one receipt per event")
        return [(result["status"], result.get("error")) for result in results]

    def _report(self, line: bytes, status: str, error: str | None) -> None:
        if self._on_receipt is None:
            if status == "rejected":
                log.error("event rejected: %s: %s", error, line.decode(errors="replace").strip())
            return
        try:
            fields = json.loads(line)
            fields["timestamp"] = datetime.fromisoformat(fields["timestamp"])
            self._on_receipt(Receipt(Event(**fields), status, error))
        except Exception:  # the caller's function, or a damaged line of a spill file
            log.exception("no receipt given for %s (%s: %s)", line, status, error)


def _rejection(error: dict[str, str]) -> tuple[int, str]:
    match = _PLACE.fullmatch(error["field"])
    if match is None:
        return -1, error["detail"]
    return int(match[1]), f"{match[2]}: {error['detail']}" if match[2] else error["detail"]


class AsyncClient:
    """A `Client` for asyncio: the same arguments, and methods that wait without blocking."""

    def __init__(self, url: str, key: str | None = None, **options: Any) -> None:
        self._client = Client(url, key, **options)
        self.send = self._client.send  # does not wait

    async def flush(self, timeout_seconds: float | None = None) -> bool:
        return await asyncio.to_thread(self._client.flush, timeout_seconds)

    async def close(self, timeout_seconds: float = 5.0) -> bool:
        return await asyncio.to_thread(self._client.close, timeout_seconds)

    async def buckets(self, *arguments: Any, **options: Any) -> list[Bucket]:
        return await asyncio.to_thread(lambda: list(self._client.buckets(*arguments, **options)))

    async def count(self, *arguments: Any, **options: Any) -> int:
        return await asyncio.to_thread(self._client.count, *arguments, **options)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
