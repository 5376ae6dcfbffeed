"""
The errors of this service.

EventsError
├── InvalidEvent        one event is invalid: the sender fixes it
├── InvalidWindow       a time range, cursor or filter is invalid: the caller fixes it
├── ChangesForgotten    the change log no longer reaches back so far: the caller starts again
├── InvalidInput        a whole input (file, header, setting) is unusable: the operator fixes it
├── NotAuthenticated    missing or invalid API key: the caller sends a valid one
├── NotAllowed          the API key lacks the right: the caller uses another key
├── TooManyRequests     rate limit exceeded: the caller waits
├── StoreUnavailable    the store did not answer in time: retrying is safe
│   └── ClockSkew       this machine's clock is wrong: the operator synchronizes it
└── StoreRefused        the store refuses (permissions, missing table): the operator fixes it
"""

from __future__ import annotations

from datetime import datetime

INVALID_CURSOR = "invalid cursor: pass the previous page's `next` unchanged"


class EventsError(Exception):
    """Base class of the errors that this service raises on purpose."""


class InvalidEvent(EventsError):
    """
    `reason`: what is wrong and how to fix it. `field`: None if it is the event as a whole.

    `option`: what else helps if the event is read with options of the command, as from a file.
    """

    def __init__(self, field: str | None, reason: str, option: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason
        self.option = option

    @property
    def with_option(self) -> str:
        """The message for those who can choose the options."""
        return f"{self}, or {self.option}" if self.option else str(self)


class InvalidWindow(EventsError):
    """`reason`: what is wrong and what to ask for instead. `parameter`: None if it is several."""

    def __init__(self, reason: str, parameter: str | None = None) -> None:
        super().__init__(f"{parameter}: {reason}" if parameter else reason)
        self.reason = reason
        self.parameter = parameter


class ChangesForgotten(EventsError):
    """The change log is complete only from `known_from` on."""

    def __init__(self, known_from: datetime) -> None:
        super().__init__(
            "the change log no longer reaches back that far: read again all buckets you keep, then "
            f"follow the changes since {known_from:%Y-%m-%dT%H:%M:%SZ}"
        )
        self.known_from = known_from


class InvalidInput(EventsError):
    """A whole input is unusable: a missing or truncated file, a header without a column."""


class NotAuthenticated(EventsError):
    """The API key is missing, unknown, expired or revoked; the message does not say which."""


class NotAllowed(EventsError):
    """The API key is valid but lacks the right."""


class TooManyRequests(EventsError):
    """A rate limit was exceeded; `retry_after_seconds` is at least 1."""

    def __init__(self, reason: str, retry_after_seconds: int) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class StoreUnavailable(EventsError):
    """The store did not answer in time. A write may have succeeded; retrying it is safe."""


class ClockSkew(StoreUnavailable):
    """This machine's clock differs too much from the store's, so nothing is written."""


class StoreRefused(EventsError):
    """The store answered with an error that a retry does not change."""
