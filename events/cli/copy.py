"""`python -m events copy`: copy all events from one store to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import groupby, islice
from typing import TYPE_CHECKING, Annotated

from typer import Option

from events.cli import EXIT_DIFFERENT, EXIT_OK, command, say
from events.errors import InvalidInput

if TYPE_CHECKING:
    from events.config import Settings
    from events.models import Outcome, StoredEvent
    from events.service import EventService

_EVENTS_PER_PAGE = 5_000

From = Annotated[str, Option("--from", metavar="URL", help="The store to read.")]
To = Annotated[str, Option("--to", metavar="URL", help="The store to write.")]


@command()
def copy(source: From, target: To) -> int:
    """
    Copy all events, voided ones too, and all API keys from one store to another.

    A URL is sqlite:///… or postgresql://…, or `dynamodb` for the tables of the DYNAMODB_ settings.
    Running it again is safe and continues: events that are already there are skipped. Stop writing
    to the source first. `ingested_at` becomes the time of the copy. At the end both stores are
    recounted.

    Exit code: 0 both are right and hold the same number of events; 1 they differ; 2 could not run.
    """
    from events.bootstrap import load_settings, make_key_store, make_service
    from events.config import INGEST_PATIENCE_SECONDS as PATIENCE
    from events.domain.windows import ALL_TIME, NO_TIME
    from events.queries.lookup import EventQuery

    if source == target:
        raise InvalidInput("--from and --to name the same store")
    outcomes: Counter[Outcome] = Counter()
    with ExitStack() as stack:
        settings = [_settings_of(load_settings(), url) for url in (source, target)]
        old, new = (
            stack.enter_context(
                closing(make_service(each, patience_seconds=PATIENCE, may_make_tables=is_target))
            )
            for each, is_target in zip(settings, (False, True), strict=True)
        )
        old.check()
        for customer in old.all_customers(NO_TIME):
            query = EventQuery(customer.customer_id, ALL_TIME, limit=_EVENTS_PER_PAGE)
            events = old.all_events(query)
            while page := list(islice(events, _EVENTS_PER_PAGE)):
                outcomes.update(new.ingest([stored.event for stored in page]))
                _void(new, page)
        old_keys, new_keys = (
            stack.enter_context(
                closing(make_key_store(each, patience_seconds=PATIENCE, may_make_tables=is_target))
            )
            for each, is_target in zip(settings, (False, True), strict=True)
        )
        keys = old_keys.keys()
        for key in keys:
            new_keys.add(key)
        say(", ".join(f"{number:,} {outcome.value}" for outcome, number in outcomes.items()))
        results = [service.verify() for service in (old, new)]
    for name, result in zip((source, target), results, strict=True):
        state = "every counter is right" if result.is_equal else "counters differ: run verify"
        say(f"{name}: {result.events:,} events, {state}")
    is_same = all(result.is_equal for result in results) and results[0].events == results[1].events
    return EXIT_OK if is_same else EXIT_DIFFERENT


def _settings_of(settings: Settings, url: str) -> Settings:
    database = "" if url == "dynamodb" else url
    return settings.model_copy(update={"events_database_url": database, "events_counts": "exact"})


def _void(service: EventService, page: Sequence[StoredEvent]) -> None:
    voided = [stored for stored in page if stored.voided_at is not None]
    for reason, group in groupby(voided, lambda stored: stored.void_reason or ""):
        service.void([stored.event for stored in group], reason=reason)
