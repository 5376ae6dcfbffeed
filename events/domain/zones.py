"""Time zones: their names, and local times in UTC."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from events.errors import InvalidEvent, InvalidInput


class LocalTimes(NamedTuple):
    """
    How to read timestamps without an offset.

    `zone` is their time zone; None rejects them. `ambiguous_hour` says which instant a local time
    means that occurs twice because clocks go back; None rejects such times.
    """

    zone: tzinfo | None = None
    ambiguous_hour: Literal["first", "second"] | None = None


#: Rejects timestamps without an offset.
NO_ZONE = LocalTimes()


def in_utc(at: datetime, local: LocalTimes) -> datetime:
    """Convert to UTC, by `local` if `at` has no offset; raises `InvalidEvent`."""
    try:
        if at.tzinfo is not None:
            return at.astimezone(UTC)
        if local.zone is None:
            raise InvalidEvent(
                "timestamp",
                "has no offset: add Z or +00:00",
                "name its zone with --assume-timezone",
            )
        first, second = (
            at.replace(tzinfo=local.zone, fold=fold).astimezone(UTC) for fold in (0, 1)
        )
    except OverflowError as exc:
        raise InvalidEvent("timestamp", "is outside the years 0001 to 9999 in UTC") from exc
    if first == second:
        return first
    if first > second:
        raise InvalidEvent(
            "timestamp", f"{at} does not exist in {local.zone}: the clocks were set forward"
        )
    if local.ambiguous_hour is None:
        raise InvalidEvent(
            "timestamp",
            f"{at} occurs twice in {local.zone}, at {first:%H:%M} and {second:%H:%M} UTC, because "
            "the clocks were set back: add the offset",
            "choose with --ambiguous-hour first or second",
        )
    return first if local.ambiguous_hour == "first" else second


@cache
def offsets_by_abbreviation() -> Mapping[str, set[timedelta]]:
    """The offsets for which the zones of the world used an abbreviation since 1970."""
    offsets: dict[str, set[timedelta]] = defaultdict(set)
    for zone in map(ZoneInfo, _iana_names()):
        for year in range(1970, 2038):
            for month in (1, 7):
                at = datetime(year, month, 1, tzinfo=zone)
                offsets[str(at.tzname())].add(at.utcoffset() or timedelta())
    return dict(offsets)


@cache
def _iana_names() -> frozenset[str]:
    # A machine's own files have more: `right/…` counts leap seconds, `localtime` is not portable.
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


def zone_named(name: str) -> tzinfo:
    """The IANA time zone `name`; raises `InvalidInput` if there is none."""
    if name not in _iana_names():
        raise InvalidInput(
            f"unknown time zone {name!r}: use an IANA name such as Europe/Berlin or UTC"
        )
    return ZoneInfo(name)
