"""Metronome's and OpenMeter's own client packages against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import openmeter
import pytest
from corehttp.exceptions import HttpResponseError
from metronome import BadRequestError, Metronome
from metronome.types.v1.usage_ingest_params import Usage
from openmeter.models import Event

from tests.support.factories import DAY, HOUR_ZERO
from tests.support.served_http import BUSY, LOST, Faults, api_on, served
from tests.support.sqlstore import MemoryStore

# aiohttp, which OpenMeter's package imports, calls a deprecated function.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
TIME = "2021-03-01T00:10:00Z"
#: Which JavaScript clients are installed, and where.
LOCK = Path(__file__).with_name("npm")
NODE_FOLDER = Path(__file__).parents[2] / ".local" / "npm"


def usage(number: int) -> Usage:
    return {
        "customer_id": f"c-{number % 3}",
        "event_type": "api_call",
        "transaction_id": f"t-{number}",
        "timestamp": TIME,
        "properties": {"tokens": number},
    }


def test_metronome_s_client_sends_retries_and_reads(memory: MemoryStore) -> None:
    faults = Faults(api_on(memory), BUSY, LOST)
    with served(faults) as url:
        client = Metronome(bearer_token="any", base_url=f"{url}/metronome")
        client.v1.usage.ingest(usage=[usage(n) for n in range(9)])
        assert faults.requests == 3
        pages = client.v1.usage.list(
            starting_on=HOUR_ZERO, ending_before=HOUR_ZERO + DAY, window_size="DAY"
        )
        rows = [(row.customer_id, row.billable_metric_id, row.value) for row in pages]
        assert rows == [(f"c-{n}", "api_call", 3) for n in range(3)]
        requests = faults.requests
        wrong = usage(10)
        wrong["transaction_id"] = ""
        with pytest.raises(BadRequestError, match=r"events\.1\.transaction_id") as caught:
            client.v1.usage.ingest(usage=[usage(9), wrong])
        assert "The others are stored" in str(caught.value)
        assert faults.requests == requests + 1, "a 400 is not retried"


def test_openmeter_s_client_sends_retries_and_reads(memory: MemoryStore) -> None:
    faults = Faults(api_on(memory), BUSY, BUSY)

    def event(number: int, source: str = "/app") -> Event:
        return Event(
            specversion="1.0",
            id=str(number),
            source=source,
            type="tokens",
            subject="acme",
            time=HOUR_ZERO,
            data={"tokens": 5},
        )

    with served(faults) as url, openmeter.Client(f"{url}/openmeter", token="any") as client:
        client.events.ingest_event(event(1))
        client.events.ingest_events([event(1), event(2)])
        result = client.meters.query_json(
            "tokens",
            from_parameter=HOUR_ZERO,
            to=HOUR_ZERO + DAY,
            window_size="HOUR",
            subject=["acme", "other"],
        )
        assert [(row.subject, row.value, row.window_start) for row in result.data] == [
            ("acme", 2, datetime(2021, 3, 1, tzinfo=UTC))
        ]
        requests = faults.requests
        with pytest.raises(HttpResponseError) as caught:
            client.events.ingest_event(event(3, source="a b"))
        assert caught.value.status_code == 400
        assert faults.requests == requests + 1, "a 400 is not retried"


def install_javascript_clients() -> None:
    """Skip the test if they cannot be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs node and npm")
    name = "package-lock.json"
    installed = NODE_FOLDER / "node_modules" / "installed.json"
    if installed.exists() and installed.read_bytes() == (LOCK / name).read_bytes():
        return
    shutil.copytree(LOCK, NODE_FOLDER, dirs_exist_ok=True)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    ran = subprocess.run(command, cwd=NODE_FOLDER, capture_output=True, text=True, timeout=300)
    if ran.returncode:
        pytest.skip(f"npm cannot install the clients: {ran.stderr[-300:]}")
    shutil.copy(LOCK / name, installed)


def test_the_javascript_clients_send_and_read(memory: MemoryStore) -> None:
    install_javascript_clients()
    script = Path(__file__).with_name("vendor_clients.mjs")
    with served(api_on(memory)) as url:
        command = ["node", str(script), str(NODE_FOLDER), url]
        out = subprocess.run(command, check=True, capture_output=True, timeout=120).stdout
    assert json.loads(out) == {
        "usage": [["acme", "api_call", "2021-03-01T00:00:00.000000Z", 2]],
        "metronomeRefusal": [400, "events.0.transaction_id"],
        "meter": [["acme", 2, "2021-03-01T00:00:00.000Z"]],
        "openmeterRefusal": 400,
    }
