"""What every job does: report its errors, print its numbers, stop at a signal."""

from __future__ import annotations

import json
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from events.errors import EventsError

EXIT_OK, EXIT_DIFFERENT, EXIT_NOT_RUN = 0, 1, 2


def exit_code_of(run: Callable[[], int]) -> int:
    """Run a job and return its exit code; its errors are printed, not raised."""
    try:
        return run()
    except EventsError as exc:
        sys.stderr.write(f"error: {exc}\n")
    except Exception:  # noqa: BLE001 - Python would exit with 1, which means "different"
        traceback.print_exc()
    return EXIT_NOT_RUN


def print_json(numbers: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(numbers) + "\n")
    sys.stdout.flush()


def set_on_signals(stop: threading.Event) -> None:
    """Set `stop` at the first SIGTERM or Ctrl-C; a second one ends the process."""

    def request_stop(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, request_stop)
