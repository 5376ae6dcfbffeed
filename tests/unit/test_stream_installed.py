"""Where Kafka's client is not installed, what needs it says so, and all else works."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from events.app import create_app
from events.cli.main import main
from events.config import Settings
from events.errors import InvalidInput


@pytest.fixture(autouse=True)
def _not_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # How Python marks a module that is not to be found.
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)  # the commands have one of their own


def test_the_app_needs_it_only_where_events_go_to_kafka() -> None:
    create_app(Settings())
    with pytest.raises(InvalidInput, match=r"requirements-stream\.txt"):
        create_app(Settings(events_ingest="kafka"))


@pytest.mark.parametrize(
    "command", [["consume"], ["produce", "-"], ["dead-letter", "list"], ["dead-letter", "replay"]]
)
def test_a_command_that_needs_it_names_what_to_install(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    assert "requirements-stream.txt" in capsys.readouterr().err
