"""
The errors of this service.

EventsError
├── InvalidEvent        one event is wrong: the sender mends it
├── InvalidWindow       a time range, page or filter is wrong: the caller mends it
├── ChangesForgotten    changes since then are not all known: the caller begins anew
├── InvalidInput        a whole input (file, header, setting) cannot be used
├── NotAuthenticated    no API key, or none that is good: the caller sends a good one
├── NotAllowed          the API key has no right to this: the caller uses another
├── TooManyRequests     a limit was reached: the caller waits
├── StoreUnavailable    the store did not answer, or not in time: the same call again is safe
└── StoreRefused        the store said no for good (rights, a missing table): the operator mends it
"""

from __future__ import annotations

from datetime import datetime


class EventsError(Exception):
    """Base of every error that this service raises on purpose."""


class InvalidEvent(EventsError):
    """
    One event cannot be taken.

    Args:
        field: The column or key at fault; None where the event as a whole is.
        reason: What is wrong, in words that the sender can act on.
    """

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class InvalidWindow(EventsError):
    """
    A window, page or filter cannot be answered.

    Args:
        reason: What is wrong and what to ask instead.
        parameter: The parameter at fault; None where several are.
    """

    def __init__(self, reason: str, parameter: str | None = None) -> None:
        super().__init__(f"{parameter}: {reason}" if parameter else reason)
        self.reason = reason
        self.parameter = parameter


class ChangesForgotten(EventsError):
    """
    Changes since a point are not all known any more.

    Args:
        known_from: Since when they are.
    """

    def __init__(self, known_from: datetime) -> None:
        super().__init__(
            "changes since then are not all known any more: read the buckets that matter anew, and "
            f"go on with those since {known_from:%Y-%m-%dT%H:%M:%SZ}"
        )
        self.known_from = known_from


class InvalidInput(EventsError):
    """A whole input cannot be used: a missing or cut-off file, a header without a column."""


class NotAuthenticated(EventsError):
    """There is no API key, or it is unknown, expired or revoked; which of these is not said."""


class NotAllowed(EventsError):
    """The API key is good, and has no right to this."""


class TooManyRequests(EventsError):
    """
    A limit on requests was reached.

    Args:
        retry_after_seconds: A whole number, from 1 on.
    """

    def __init__(self, reason: str, retry_after_seconds: int) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class StoreUnavailable(EventsError):
    """The store did not answer, or not in time. What was sent may be stored: send it again."""


class StoreRefused(EventsError):
    """The store answered no for a reason that the same call again will not change."""
