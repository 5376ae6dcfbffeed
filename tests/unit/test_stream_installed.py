"""Without the Kafka client, only what needs it fails, and says what to install."""

from __future__ import annotations

import sys

import pytest

from events.app import create_app
from events.cli.main import main
from events.config import Settings
from events.errors import InvalidInput


@pytest.fixture(autouse=True)
def _not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    # How Python marks a module that cannot be found.
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)


def test_the_app_needs_it_only_if_events_go_to_kafka() -> None:
    create_app(Settings())
    with pytest.raises(InvalidInput, match=r"requirements-stream\.txt"):
        create_app(Settings(events_ingest="kafka"))


@pytest.mark.parametrize(
    "command", [["consume"], ["produce", "-"], ["dead-letter", "list"], ["dead-letter", "replay"]]
)
def test_a_command_that_needs_it_says_what_to_install(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    assert "requirements-stream.txt" in capsys.readouterr().err
