"""
A program that writes one customer's events until it is killed.

`python -m tests.support.shardwriter URL TABLE SEED`; it prints a line with the numbers of the
events of each batch that was acknowledged.
"""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor

from events.config import Settings
from events.models import Event
from events.service import EventService
from tests.support.factories import HOUR_ZERO, many_events

THREADS, DAYS = 8, 20
#: All writers send these, so most events are sent several times.
POOL: list[Event] = many_events(100 * DAYS, hours=24 * DAYS, event_types=3)
DAYS_OF_POOL = [
    [number for number, item in enumerate(POOL) if (item.timestamp - HOUR_ZERO).days == day]
    for day in range(DAYS)
]


def main(url: str, table: str, seed: int) -> None:
    from events.bootstrap import make_service

    settings = Settings(dynamodb_endpoint_url=url, dynamodb_events_table_name=table)
    service = make_service(settings, patience_seconds=60)
    with ThreadPoolExecutor(THREADS) as threads:
        for thread in range(THREADS):
            threads.submit(write, service, random.Random(f"{seed} {thread}"))


def write(service: EventService, rng: random.Random) -> None:
    while True:
        of_day = DAYS_OF_POOL[rng.randrange(DAYS)]
        numbers = rng.sample(of_day, 40)
        service.ingest([POOL[number] for number in numbers])
        # One write, so that the lines of threads do not mix.
        sys.stdout.write(" ".join(map(str, numbers)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
