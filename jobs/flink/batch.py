"""Counts the distinct events of the archive with Flink SQL."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any

from events.archive.catalog import map_errors, open_catalog
from events.bootstrap import open_store
from events.config import INGEST_PATIENCE_SECONDS, Settings
from events.domain.windows import EARLIEST, LATEST
from events.models import Window
from jobs.flink.jvm import catalog_properties
from jobs.lib.compare import Comparison, compare
from jobs.lib.hourcounts import micros_of
from jobs.lib.iceberg import archive_snapshot, archived, hour_counts, make_table, remove_other_days
from jobs.lib.tables import HOURLY, NAMESPACE, RAW

_FLINK = {
    "execution.runtime-mode": "BATCH",
    "table.local-time-zone": "UTC",
    # Its hash tables spill to disk beyond this.
    "taskmanager.memory.managed.size": "256m",
}


def recount(
    jvm: Any,
    settings: Settings,
    window: Window,
    *,
    flink: Mapping[str, str],
    catalog_options: Mapping[str, str],
    is_compared: bool,
) -> Comparison:
    """Replace these days in the table of counts; compare them with the counters if asked."""
    with closing(open_catalog(settings.iceberg_catalog_name, settings.iceberg_folder)) as catalog:
        raw, snapshot = archive_snapshot(catalog)
        table = make_table(catalog, HOURLY)
        before = table.current_snapshot()
        _count(jvm, catalog_properties(settings, catalog_options), window, snapshot, flink)
        with map_errors("the counts"):
            table.refresh()
        remove_other_days(table, window, since=before.snapshot_id if before else None)
        counts = list(hour_counts(table, window))
        if not is_compared:
            return Comparison(events=sum(count.count for count in counts))
        store = open_store(
            settings, patience_seconds=INGEST_PATIENCE_SECONDS, may_make_tables=False
        )
        with closing(store):
            store.check()
            return compare(counts, store, window, partial(archived, raw, snapshot))


def _count(
    jvm: Any,
    catalog: Mapping[str, str],
    window: Window,
    snapshot: int,
    flink: Mapping[str, str],
) -> None:
    """Replace the counts of every day that has events, in one commit."""
    configuration = jvm.org.apache.flink.configuration.Configuration.fromMap({**_FLINK, **flink})
    settings = jvm.org.apache.flink.table.api.EnvironmentSettings.newInstance()
    tables = jvm.org.apache.flink.table.api.TableEnvironment.create(
        settings.withConfiguration(configuration).build()
    )
    properties = {"type": "iceberg", **catalog, "catalog-impl": catalog["impl"]}
    options = ", ".join(
        f"{_quoted(key)} = {_quoted(value)}"
        for key, value in properties.items()
        if key not in ("name", "impl")
    )
    # A SQL catalog keeps its tables under its name, so Flink must use the same.
    name = f"`{catalog['name']}`.{NAMESPACE}"
    tables.executeSql(f"CREATE CATALOG `{catalog['name']}` WITH ({options})")
    result = tables.executeSql(
        f"""
        INSERT OVERWRITE {name}.{HOURLY}
        SELECT customer_id, event_type, `hour`, COUNT(*) AS `count`
        FROM (
            SELECT DISTINCT customer_id, event_type, transaction_id, `timestamp`,
                FLOOR(`timestamp` TO HOUR) AS `hour`
            FROM {name}.`{RAW}` /*+ OPTIONS('snapshot-id' = '{snapshot}') */
            WHERE {_is_in(window)}
        )
        GROUP BY customer_id, event_type, `hour`
        """  # noqa: S608 - names and numbers of our own
    )
    getattr(result, "await")()  # a word of Python's


def _is_in(window: Window) -> str:
    """The condition of whole UTC days on the column `timestamp`."""
    bounds = [
        f"`timestamp` {operator} TO_TIMESTAMP_LTZ({micros_of(at) // 1_000}, 3)"
        for operator, at, end in ((">=", window.start, EARLIEST), ("<", window.end, LATEST))
        if at != end
    ]
    return " AND ".join(["TRUE", *bounds])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
