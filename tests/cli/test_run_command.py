"""`python -m events run` and `local`, and `uvicorn events.app:app`, started and stopped."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from events.config import Settings
from events.local import dynamodb, kafka
from tests.support.database import Database
from tests.support.shell import (
    HEADER,
    INGEST,
    SAMPLE,
    Command,
    Ran,
    Shell,
    free_port,
    is_open,
    until,
)
from tests.support.summaries import summary, untimed
from tests.support.tables import Tables, contents_of, rows_of

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
#: Each case starts processes: one signal is enough for the first tier.
STOP_CASES = [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
CUSTOMER = "9d698ace49b14eaed7cc1ac64afef255"
MARCH = f"/events/customers/{CUSTOMER}/buckets?start=2021-03-01&end=2021-04-01"


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=60) as answer:
        return json.load(answer)


def march_buckets(file: Path) -> list[dict[str, Any]]:
    """The buckets of `CUSTOMER` in March, counted from a file without code of this project."""
    instants = {row for row in rows_of(file) if row[0] == CUSTOMER}
    hours = Counter(at.strftime("%Y-%m-%dT%H:00:00.000000Z") for *_, at in instants)
    return [
        {"ts_start_of_hour": hour, "count": count, "partial": False}
        for hour, count in sorted(hours.items())
    ]


def end_well(command: Command, number: signal.Signals) -> Ran:
    """Stop a command; it must leave no process behind."""
    processes = [psutil.Process(command.process.pid), *command.children()]
    command.signal(number)
    ran = command.ended()
    assert [process for process in processes if process.is_running()] == []
    return ran


@pytest.fixture
def few(shell: Shell) -> Path:
    """A file of 100 rows."""
    lines = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)[:101]
    return shell.write("few.csv", "".join(lines))


# --- run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signals", [STOP_SIGNALS[:1], pytest.param(STOP_SIGNALS, marks=pytest.mark.slow)]
)
def test_run_starts_everything_and_leaves_only_the_data(
    shell: Shell, few: Path, signals: list[signal.Signals]
) -> None:
    api, store = free_port(), free_port()
    arguments = ("-m", "events", "run", "--port", str(api), "--data", "data", "--file", "few.csv")
    where = {"DYNAMODB_ENDPOINT_URL": f"http://localhost:{store}"}
    distinct = len(contents_of(rows_of(few)).events)
    ran, answers = [], []
    for number in signals:
        command = shell.start(*arguments, settings=where)
        command.wait_for("Ctrl-C stops everything")
        answers.append((get(api, "/readyz"), get(api, MARCH)["buckets"]))
        assert len(command.children()) == 1
        ran.append(end_well(command, number))
        assert (is_open(api), is_open(store)) == (False, False)

    assert answers == [({"status": "ok"}, march_buckets(few))] * len(signals)
    assert [(result.code, untimed(result.out)) for result in ran] == [
        (0, summary("few.csv", inserted=distinct, duplicates=100 - distinct)),
        # The same data and the same file: nothing new.
        (0, summary("few.csv", inserted=0, duplicates=100)),
    ][: len(signals)]
    base = f"http://localhost:{api}"
    assert {result.err for result in ran} == {
        (
            f"DynamoDB Local is ready at http://localhost:{store}, data in data.\n"
            "\n"
            f"The API is ready at {base}. Open {base}/ in a browser, or try:\n"
            "\n"
            f"  curl '{base}/events/customers/{CUSTOMER}/buckets"
            "?start=2021-03-01T00:00:00Z&end=2021-03-02T00:00:00Z'\n"
            f"  curl '{base}{MARCH}&format=csv'\n"
            f"  curl '{base}/events/customers'\n"
            f"  curl {base}/events -H 'Content-Type: application/json' -d '"
            '{"events": [{"customer_id": "acme",\n    "event_type": "page_view", '
            '"transaction_id": "t-1", "timestamp": "2026-11-24T10:00:05Z"}]}\'\n'
            f"  python sample_api_requests.py --url {base}\n"
            "  python -m events verify\n"
            "\n"
            f"The API is described at {base}/openapi.json. "
            "Ctrl-C stops everything; the data is kept.\n"
            "\n"
            "stopped\n"
        )
    }
    assert shell.names() == ["data", "few.csv"]


@pytest.mark.slow
def test_run_uses_a_running_dynamodb_and_leaves_it_running(
    shell: Shell, tables: Tables, settings: Settings, few: Path
) -> None:
    api = free_port()
    command = shell.start("-m", "events", "run", "--port", str(api), "--file", "few.csv")
    command.wait_for("Ctrl-C stops everything")
    buckets = get(api, MARCH)["buckets"]
    assert command.children() == []
    ran = end_well(command, signal.SIGINT)

    assert ran.code == 0
    first, *_ = ran.err.splitlines()
    assert first == f"Using the DynamoDB that is running at {settings.dynamodb_endpoint_url}."
    assert not is_open(api)
    assert buckets == march_buckets(few)
    assert tables.contents() == contents_of(rows_of(few))
    # Nothing is left in its working folder.
    assert shell.names() == ["few.csv"]


@pytest.mark.slow
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_run_stopped_while_it_stores_leaves_no_process(
    shell: Shell, number: signal.Signals
) -> None:
    api, store = free_port(), free_port()
    url = f"http://localhost:{store}"
    arguments = ("-m", "events", "run", "--port", str(api), "--data", "data")
    command = shell.start(*arguments, settings={"DYNAMODB_ENDPOINT_URL": url})
    own = Tables(url, shell.settings["DYNAMODB_EVENTS_TABLE_NAME"])
    command.wait_for("data in data")
    own.wait_until_stored(100)
    own.client.close()
    assert len(command.children()) == 2
    ran = end_well(command, number)

    assert (ran.code, is_open(api), is_open(store)) == (0, False, False)
    assert f"{SAMPLE.parent.name}/{SAMPLE.name}: " in ran.out
    # Nothing is left beside the sample.
    assert shell.names() == ["data"]
    assert list(SAMPLE.parent.glob("events.csv?*")) == []
    assert "Everything counted below is stored; run again to continue" in ran.err
    assert ran.err.endswith("stopped\n")


def test_run_on_a_used_port_starts_nothing(shell: Shell) -> None:
    store = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ran = shell.call(
            *("-m", "events", "run", "--port", str(port), "--data", "data"),
            settings={"DYNAMODB_ENDPOINT_URL": f"http://localhost:{store}"},
        )

    assert ran == Ran(
        2,
        "",
        f"error: port {port} is already in use: stop that program, or choose another port with "
        "--port\n",
    )
    assert not is_open(store)
    assert shell.names() == []


def test_an_invalid_port_prints_the_usage(shell: Shell) -> None:
    ran = shell.call("-m", "events", "run", "--port", "65536")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: python -m events run ")
    assert "Invalid value for '--port'" in ran.err


@pytest.mark.slow
def test_run_with_a_missing_file_leaves_nothing_running(shell: Shell, tables: Tables) -> None:
    port = free_port()

    ran = shell.run("-m", "events", "run", "--port", str(port), "--file", "no.csv")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[1:] == [
        "error: no.csv: file not found",
        "error: could not store the events of no.csv, see above",
    ]
    assert not is_open(port)
    assert tables.count() == 0


@pytest.mark.slow
def test_run_serves_a_file_that_has_bad_rows(shell: Shell, tables: Tables) -> None:
    port = free_port()
    shell.write("a.csv", HEADER + "acme,e,t-1,2021-03-01T10:00:00Z\nacme,e,t-2,10\n")

    command = shell.start("-m", "events", "run", "--port", str(port), "--file", "a.csv")
    command.wait_for("Ctrl-C stops everything")
    total = get(port, "/events/customers")["customers"]
    ran = end_well(command, signal.SIGTERM)

    assert ran.code == 0
    assert total == [{"customer_id": "acme", "total": 1}]
    assert untimed(ran.out) == summary("a.csv", inserted=1, duplicates=0, rejected=1)
    assert shell.has("a.csv.rejects.csv")
    assert tables.count() == 1


# --- local ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_local_starts_and_stops_the_database_alone(database: Database, shell: Shell) -> None:
    port = free_port()
    command = shell.start("-m", "events", "local", "--port", str(port), "--in-memory")
    command.wait_for("Ctrl-C stops it")
    is_answering = dynamodb.is_answering(f"http://localhost:{port}")
    ran = end_well(command, signal.SIGINT)

    assert is_answering
    assert ran == Ran(
        0,
        "",
        f"DynamoDB Local is ready at http://localhost:{port}, data in memory. Ctrl-C stops it.\n"
        "stopped\n",
    )
    assert not is_open(port)
    assert shell.names() == []
    # Another database beside it is not stopped.
    assert dynamodb.is_answering(database.endpoint_url)


def test_local_on_a_used_port_is_an_error(shell: Shell, database: Database) -> None:
    ran = shell.call("-m", "events", "local", "--port", str(database.port), "--in-memory")

    assert ran == Ran(
        2,
        "",
        f"error: port {database.port} is already in use: stop that program, or choose another "
        "port with --port\n",
    )
    assert dynamodb.is_answering(database.endpoint_url)


@pytest.mark.slow
def test_local_runs_kafka_and_keeps_its_data(shell: Shell) -> None:
    port = free_port()
    arguments = "-m", "events", "local", "--kafka", "--port", str(port), "--data", "kafka"
    for tiered in ((), ("--tiered",)):
        command = shell.start(*arguments, *tiered)
        command.wait_for("stops it", timeout_seconds=200)  # the first start may download it
        assert kafka.is_answering(f"127.0.0.1:{port}")
        assert not dynamodb.is_answering(f"http://127.0.0.1:{port}")
        ran = end_well(command, signal.SIGTERM)
        assert (ran.code, ran.out) == (0, "")
        assert ran.err.endswith(
            f"Kafka is ready at 127.0.0.1:{port}, data in kafka. Ctrl-C stops it.\nstopped\n"
        )
        assert ("The topic events is in tiered storage" in ran.err) == bool(tiered)
        assert not kafka.is_answering(f"127.0.0.1:{port}")
    assert (shell.folder / "kafka" / "meta.properties").is_file()


@pytest.mark.slow
def test_kafka_on_a_used_port_is_an_error(shell: Shell, database: Database) -> None:
    ran = shell.call("-m", "events", "local", "--kafka", "--port", str(database.port))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith(
        f"error: port {database.port} is already in use: stop that program, or choose another "
        "port with --port\n"
    )
    assert not kafka.is_answering(f"127.0.0.1:{database.port}")


def test_local_keeps_its_data_either_in_memory_or_in_a_folder(shell: Shell) -> None:
    ran = shell.call("-m", "events", "local", "--in-memory", "--data", "data")

    assert ran == Ran(2, "", "error: --data and --in-memory cannot be used together\n")


def test_tiered_storage_is_only_for_kafka(shell: Shell) -> None:
    ran = shell.call("-m", "events", "local", "--tiered")

    assert ran == Ran(2, "", "error: --tiered needs --kafka\n")


def test_a_missing_command_prints_the_usage(shell: Shell) -> None:
    ran = shell.run("-m", "events")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: python -m events ")
    assert ran.err.endswith("Error: Missing command.\n")


# --- uvicorn --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", STOP_CASES)
def test_uvicorn_serves_the_app(
    shell: Shell, tables: Tables, few: Path, number: signal.Signals
) -> None:
    port = free_port()
    assert shell.call(INGEST, "few.csv").code == 0
    command = shell.start("-m", "uvicorn", "events.app:app", "--port", str(port))
    until(lambda: is_open(port) or not command.is_running())
    answer = get(port, MARCH)
    ran = end_well(command, number)

    assert answer["buckets"] == march_buckets(few)
    assert answer["total"] == sum(bucket["count"] for bucket in answer["buckets"])
    assert tables.contents() == contents_of(rows_of(few))
    assert not is_open(port)
    # uvicorn ends by the signal itself, after it has closed everything.
    assert ran.code in (0, -number)
    assert "Finished server process" in ran.err


def test_uvicorn_with_invalid_settings_prints_one_line(shell: Shell) -> None:
    port = free_port()

    ran = shell.run(
        *("-m", "uvicorn", "events.app:app", "--port", str(port)),
        settings={"EVENTS_WRITE_THREADS": "0"},
    )

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "error: settings (environment or .env): EVENTS_WRITE_THREADS is '0': Input should be "
        "greater than or equal to 1\n"
    )
