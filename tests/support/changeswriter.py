"""
A program that writes until it is killed: `python -m tests.support.changeswriter URL TABLE SEED`.

It prints a dot for each batch that it has written.
"""

from __future__ import annotations

import random
import sys
from datetime import timedelta

from events.bootstrap import make_client
from events.config import Settings
from events.dao import DynamoStore, Timing
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.service import EventService
from tests.support.factories import many_events

#: So many that a day rarely changes twice: a second change would hide a missed one.
CUSTOMERS, DAYS = 60, 20


def make_store(url: str, table: str) -> DynamoStore:
    settings = Settings(dynamodb_endpoint_url=url, dynamodb_events_table_name=table)
    return DynamoStore(
        make_client(settings),
        Tables.named(table),
        retry=RetryPolicy(30),
        timing=Timing(minute=timedelta(seconds=2), grace=timedelta(seconds=5)),
    )


def main(url: str, table: str, seed: int) -> None:
    rng = random.Random(seed)
    service = EventService(make_store(url, table), write_threads=4)
    while True:
        # A limited choice, so that some events are sent twice, also by different writers.
        choice = rng.randrange(60)
        events = many_events(30, seed=choice, customers=CUSTOMERS, hours=24 * DAYS)
        chosen = rng.sample(events, rng.randint(1, 8))
        if rng.random() < 0.1:
            service.void(chosen, reason="a test")
        else:
            service.ingest(chosen)
        sys.stdout.write(".")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
