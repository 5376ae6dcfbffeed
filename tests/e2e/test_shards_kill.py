"""Processes write one customer while its plan changes and they are killed: nothing is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import uuid
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from events.bootstrap import make_client, make_service, make_store
from events.config import Settings
from events.datamodels import customer_of
from tests.support.backdoor import DynamoBackDoor
from tests.support.database import Database
from tests.support.factories import HOUR_ZERO, stored_key
from tests.support.shardwriter import DAYS, POOL
from tests.support.shell import CHECKOUT, until

WRITERS, KILLS, SEED = 3, 3, 11
CUSTOMER = "customer-0"


class Writer:
    """A process that writes until it is killed."""

    def __init__(self, database: Database, table: str, seed: int, folder: Path) -> None:
        self._out = folder / f"{seed}.txt"
        program = [sys.executable, "-m", "tests.support.shardwriter"]
        with self._out.open("w") as out:
            self._process = subprocess.Popen(
                [*program, database.endpoint_url, table, str(seed)], cwd=CHECKOUT, stdout=out
            )

    def acknowledged(self) -> list[str]:
        """A line per batch; the last may have been cut off."""
        return self._out.read_text().split("\n")[:-1]

    def wait_for_batches(self, number: int) -> None:
        until(lambda: len(self.acknowledged()) >= number or self._process.poll() is not None)
        assert self._process.poll() is None, "the writer ended by itself"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.slow  # six Python processes
def test_killed_writers_with_other_plans_lose_and_double_nothing(
    database: Database, tmp_path: Path
) -> None:
    settings = Settings(
        dynamodb_endpoint_url=database.endpoint_url,
        dynamodb_events_table_name=f"t{uuid.uuid4().hex}",
    )
    table, rng = settings.dynamodb_events_table_name, random.Random(SEED)
    with ExitStack() as stack:
        store = stack.enter_context(closing(make_store(settings, patience_seconds=60)))
        store.create_tables()

        def change_plan(number: int) -> None:
            day = f"{HOUR_ZERO:%Y-%m}-{1 + number * DAYS // (WRITERS + KILLS):02d}"
            shards = rng.choice([2, 4, 8])
            store.plans.change(CUSTOMER, lambda plan: plan.with_shards(shards, day))

        writers: list[Writer] = []
        for number in range(WRITERS + KILLS):
            change_plan(number)
            if number >= WRITERS:
                victim = writers[number - WRITERS]
                victim.wait_for_batches(3)
                victim.kill()
            writers.append(Writer(database, table, number, tmp_path))
            stack.callback(writers[-1].kill)
        for writer in writers[KILLS:]:
            writer.wait_for_batches(3)
            writer.kill()
        database.wait_until_settled()
        acknowledged = {
            stored_key(POOL[int(number)])
            for writer in writers
            for line in writer.acknowledged()
            for number in line.split()
        }
        client = make_client(settings)
        stack.callback(client.close)
        tables = DynamoBackDoor(client, table)
        items = [
            (item["customer_id"]["S"], item["event_key"]["S"])
            for item in tables.scan(tables.names.events)
            if not item["event_key"]["S"].startswith("!")
        ]
        keys = {key for _, key in items}
        assert len(keys) == len(items), "an event is stored in two shards"
        assert acknowledged <= keys <= {stored_key(item) for item in POOL}
        assert len({partition for partition, _ in items}) > 2
        assert {customer_of(partition) for partition, _ in items} == {CUSTOMER}
        service = stack.enter_context(closing(make_service(settings, patience_seconds=60)))
        found = service.verify()
        assert (found.is_equal, found.events) == (True, len(items))
        service.ingest(POOL)
        assert service.verify().events == len(POOL)
