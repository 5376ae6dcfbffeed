"""Probes of `consume` and `archive`: a hung loop and each problem are reported; no secrets."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from events.errors import InvalidInput, StoreUnavailable
from events.server.status import served
from events.telemetry.health import Health


def get(port: int, path: str) -> tuple[int, str, str]:
    """Status, content type and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.headers["Content-Type"], exc.read().decode()


def fail() -> None:
    raise StoreUnavailable("no answer from database.internal:8000")


def test_a_healthy_process_answers_ok_and_serves_metrics() -> None:
    health = Health(is_alive=lambda: True, problems=dict, checks={"store": lambda: None})
    with served("127.0.0.1", 0, health) as port:
        for path in ("/livez", "/readyz"):
            assert get(port, path) == (200, "application/json", '{"status":"ok"}')
        status, content_type, text = get(port, "/metrics")
        assert (status, content_type.split(";")[0]) == (200, "text/plain")
        assert "# HELP events_receipts_total" in text
        assert get(port, "/events")[0] == 404


def test_problems_are_named_without_hosts_of_failed_checks() -> None:
    health = Health(
        is_alive=lambda: False,
        problems=lambda: {"kafka": "Kafka says _ALL_BROKERS_DOWN"},
        checks={"store": fail, "topic": lambda: None},
    )
    with served("127.0.0.1", 0, health) as port:
        status, _, text = get(port, "/livez")
        assert (status, json.loads(text)["status"]) == (503, "waiting")
        status, _, text = get(port, "/readyz")
    assert (status, json.loads(text)) == (
        503,
        {
            "status": "waiting",
            "store": "does not answer, or refuses",
            "kafka": "Kafka says _ALL_BROKERS_DOWN",
        },
    )


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    health = Health(is_alive=lambda: True, problems=dict)
    with (
        served("127.0.0.1", 0, health) as port,
        pytest.raises(InvalidInput, match=f"--port {port}: Address already in use"),
        served("127.0.0.1", port, health),
    ):
        pass
