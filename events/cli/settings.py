"""`python -m events settings`: the table of settings, generated from `Settings`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from typer import Option

from events.cli import EXIT_OK, command
from events.cli.output import write_result

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_INTRODUCTION = """\
# Settings

Every setting is an environment variable. A `.env` file in the working directory may set the same
names; the environment overrides it. AWS credentials and other variables of AWS are not read from
`.env`: set them in the environment.

`python -m events settings` prints this page, and
`python -m events settings --env` prints [`.env.example`](../.env.example).

| Variable | Default | Allowed | Meaning |
|---|---|---|---|
"""
_ENV_INTRODUCTION = """\
# Copy this file to .env and change what you need. Environment variables override it.
"""
Env = Annotated[bool, Option("--env", help="Print a .env file instead.")]


@command()
def settings(env: Env = False) -> int:
    """Print all settings as Markdown, or as a .env file."""
    write_result((env_example() if env else markdown()).rstrip("\n"))
    return EXIT_OK


def markdown() -> str:
    """docs/settings.md."""
    return _INTRODUCTION + "".join(
        f"| `{name}` | {_code(field.default)} | {_allowed(field)} | {field.description} |\n"
        for name, field in _settings()
    )


def env_example() -> str:
    """.env.example."""
    return _ENV_INTRODUCTION + "".join(
        f"\n# {str(field.description).replace('`', '')}"
        f"{f' ({allowed})' if (allowed := _allowed(field).replace('`', '')) else ''}\n"
        f"{name}={field.default}\n"
        for name, field in _settings()
    )


def _settings() -> Iterator[tuple[str, FieldInfo]]:
    from events.config import Settings

    for name, field in Settings.model_fields.items():
        yield name.upper(), field


def _allowed(field: FieldInfo) -> str:
    from annotated_types import Ge, Le

    if get_origin(field.annotation) is Literal:
        return ", ".join(map(_code, get_args(field.annotation)))
    bounds: dict[type, Any] = {type(bound): bound for bound in field.metadata}
    if Ge in bounds and Le in bounds:
        return f"{bounds[Ge].ge:,} to {bounds[Le].le:,}"
    return ""


def _code(value: object) -> str:
    return "" if value == "" else f"`{value}`"
