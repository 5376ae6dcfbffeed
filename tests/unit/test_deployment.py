"""What the files for containers and the proxy promise, and that they agree with the service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml  # type: ignore[import-untyped] # comes without types
from typer.core import TyperGroup
from typer.main import get_command

from events.api.routes.ops import router
from events.cli.main import app
from events.config import Settings
from events.server.process import FINISH_SECONDS

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def services() -> dict[str, Any]:
    document = yaml.safe_load((CHECKOUT / "compose.yaml").read_text(encoding="utf-8"))
    assert document["networks"]["inside"] == {"internal": True}
    services: dict[str, Any] = document["services"]
    return services


def test_the_api_in_a_container_needs_keys_and_has_no_rights(services: dict[str, Any]) -> None:
    api = services["api"]
    assert api["environment"]["EVENTS_API_KEYS"] == "on"
    assert {name: api[name] for name in ("read_only", "tmpfs", "cap_drop", "security_opt")} == {
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    assert [port.split(":")[0] for port in api["ports"]] == ["127.0.0.1"]
    assert int(api["stop_grace_period"].removesuffix("s")) > FINISH_SECONDS


def test_nobody_but_the_api_reaches_the_database(services: dict[str, Any]) -> None:
    database = services["database"]
    assert (database["networks"], "ports" in database) == (["inside"], False)
    assert database["volumes"] == ["database:/data"]
    assert services["api"]["environment"]["DYNAMODB_ENDPOINT_URL"] == "http://database:8000"


def test_the_image_starts_the_service_as_nobody_special() -> None:
    text = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    lines = text.splitlines()
    python, *arguments = json.loads(lines[-1].removeprefix("CMD "))
    assert (python, arguments[:2]) == ("python", ["-m", "events"])
    serve = cast("TyperGroup", get_command(app)).commands["serve"]
    options = serve.make_context("serve", arguments[3:]).params
    assert (arguments[2], options["host"], options["port"]) == ("serve", "0.0.0.0", 8800)
    assert "USER 10001:10001" in lines
    assert "requirements-dev" not in text
    assert (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1] == "*"


@pytest.mark.parametrize("name", ["requirements", "requirements-stream"])
def test_the_image_can_be_built_with_each_list_of_what_runs(name: str) -> None:
    """It installs a list without looking for what that needs, so the list must have it all."""
    text = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    assert "ARG REQUIREMENTS=requirements.txt\nCOPY ${REQUIREMENTS} /tmp/requirements.txt\n" in text
    ignored = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert f"!{name}.txt" in ignored
    pinned = [
        {
            line
            for line in (CHECKOUT / f"{item}.txt").read_text("utf-8").splitlines()
            if "==" in line
        }
        for item in ("requirements", name)
    ]
    assert pinned[0] <= pinned[1]


def test_the_proxy_agrees_with_the_service() -> None:
    text = (CHECKOUT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    megabytes = Settings.model_fields["events_max_body_bytes"].default // 1_048_576
    assert f"client_max_body_size {megabytes}m;" in text
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text
    # With an address after the name, `%2F` in a customer's id would become `/`.
    assert re.findall(r"proxy_pass (\S+);", text) == ["http://api"]


def test_each_measure_is_explained_and_each_probe() -> None:
    text = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
    metrics = (CHECKOUT / "events" / "telemetry" / "metrics.py").read_text(encoding="utf-8")
    names = re.findall(r'"(events_\w+)"', metrics)
    assert names
    assert [name for name in names if f"| `{name}` |" not in text] == []
    paths = [route.path for route in router.routes if hasattr(route, "path")]
    assert [path for path in paths if f"| `{path}` |" not in text] == []
