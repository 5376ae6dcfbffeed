"""Several server processes on the same sockets, and the one that watches over them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead

from events.api.routes.ops import METRICS_FOLDER
from events.config import Settings
from events.errors import EventsError
from events.server.process import FINISH_SECONDS, Server, end_at_once
from events.telemetry import logs

log = logging.getLogger(__name__)

#: Fresh processes: one that is forked shares locks and connections with its parent.
_SPAWN = multiprocessing.get_context("spawn")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Between two starts in the place of one that died, so that a lasting fault is no storm.
_RESTART_SECONDS = 1.0
#: After this a worker that should have ended is killed.
_PATIENCE_SECONDS = FINISH_SECONDS + 10


class WorkersError(EventsError):
    """The workers cannot run."""


def run(
    make_app: Callable[[Settings], FastAPI],
    settings: Settings,
    sockets: Sequence[socket.socket],
    number: int,
    on_ready: Callable[[], None],
    *,
    drain_seconds: float = 0,
) -> None:
    """
    Serve with several processes until told to stop; one that dies is replaced.

    Args:
        sockets: They listen; all processes accept from them.
        on_ready: Called once, when all of them answer.

    Raises:
        WorkersError: One died before it ever answered.
    """
    with tempfile.TemporaryDirectory(prefix="events-measures-") as folder:
        # Read by prometheus_client when a worker imports it.
        os.environ[METRICS_FOLDER] = folder
        _Supervisor(make_app, settings, sockets, number, folder, on_ready, drain_seconds).run()


class _Supervisor:
    def __init__(
        self,
        make_app: Callable[[Settings], FastAPI],
        settings: Settings,
        sockets: Sequence[socket.socket],
        number: int,
        folder: str,
        on_ready: Callable[[], None],
        drain_seconds: float,
    ) -> None:
        self._drain_seconds = drain_seconds
        self._make_app = make_app
        self._settings = settings
        self._sockets = list(sockets)
        self._number = number
        self._folder = folder
        self._on_ready = on_ready
        self._workers: list[SpawnProcess] = []
        #: Of those that do not answer yet.
        self._starting: dict[Connection, SpawnProcess] = {}
        #: How often a worker began to answer.
        self._ready = 0
        self._is_stopping = False

    def run(self) -> None:
        with _wakeups(self._on_signal) as wakeup:
            try:
                for _ in range(self._number):
                    self._start()
                while not self._is_stopping:
                    self._watch(wakeup)
            finally:
                self._end_all()

    def _on_signal(self, number: int) -> None:
        if self._is_stopping:
            for worker in self._workers:
                worker.kill()
            shutil.rmtree(self._folder, ignore_errors=True)
            end_at_once(number)
        self._is_stopping = True

    def _start(self) -> None:
        ours, theirs = _SPAWN.Pipe(duplex=False)
        worker = _SPAWN.Process(
            target=_work,
            args=(self._make_app, self._settings, self._sockets, theirs, self._drain_seconds),
            name="events-worker",
        )
        # A worker never sees a Ctrl-C, not even while it starts: it is for the parent to tell it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            worker.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self._workers.append(worker)
        self._starting[ours] = worker

    def _watch(self, wakeup: socket.socket) -> None:
        """Wait until anything happens, and act on it."""
        ends = {worker.sentinel: worker for worker in self._workers}
        for each in wait([wakeup, *ends, *self._starting]):
            if isinstance(each, Connection):
                self._note_start(each)
        died = [worker for worker in self._workers if worker.exitcode is not None]
        for worker in died:
            if self._is_stopping:
                return
            self._replace(worker)

    def _note_start(self, connection: Connection) -> None:
        with connection:
            del self._starting[connection]
            try:
                connection.recv()
            except EOFError:  # it ended before it answered
                return
        self._ready += 1
        if self._ready == self._number:
            self._on_ready()

    def _replace(self, worker: SpawnProcess) -> None:
        if self._ready < self._number:
            raise WorkersError("a worker ended before it answered, see above")
        log.error(
            "worker %s ended with code %s; another takes its place", worker.pid, worker.exitcode
        )
        self._forget(worker)
        time.sleep(_RESTART_SECONDS)
        if not self._is_stopping:
            self._start()

    def _forget(self, worker: SpawnProcess) -> None:
        self._workers.remove(worker)
        # Its counts stay in the sums; what it had under way is over.
        mark_process_dead(worker.pid, self._folder)  # type: ignore[no-untyped-call] # theirs has no types

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.terminate()
        # Held here too, they would take connections that nobody accepts.
        for each in self._sockets:
            each.close()
        deadline = time.monotonic() + _PATIENCE_SECONDS + self._drain_seconds
        for worker in self._workers:
            worker.join(max(0, deadline - time.monotonic()))
            if worker.exitcode is None:
                log.error("worker %s did not end in time and is killed", worker.pid)
                worker.kill()
                worker.join()


@contextmanager
def _wakeups(on_signal: Callable[[int], None]) -> Iterator[socket.socket]:
    """Handle the signals that stop; the socket can be read once one came."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    def handle(number: int, _: FrameType | None) -> None:
        on_signal(number)

    before = {number: signal.signal(number, handle) for number in _STOP_SIGNALS}
    descriptor = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()


# --- in a worker ----------------------------------------------------------------------------------


def _work(
    make_app: Callable[[Settings], FastAPI],
    settings: Settings,
    sockets: list[socket.socket],
    parent: Connection,
    drain_seconds: float,
) -> None:
    logs.configure(settings.events_log_format, settings.events_log_level)
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    # Some managers send SIGTERM to all: what is said twice is no second signal here. The parent
    # kills those that are to end at once.
    server = Server(
        make_app(settings),
        drain_seconds=drain_seconds,
        on_ready=lambda: parent.send(True),
        on_second_signal=lambda _: None,
    )
    server.run(sockets)
    sys.exit(0 if server.started else 1)


def _stop_without_parent() -> None:
    """A worker whose parent was killed is nobody's: it finishes and ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
