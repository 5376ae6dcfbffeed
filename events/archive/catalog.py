"""Opens an Iceberg catalog, and turns its errors into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    RESTError,
    UnauthorizedError,
    WaitingForLockException,
)
from pyiceberg.utils.config import Config
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from events.errors import InvalidInput, StoreRefused, StoreUnavailable

_PERMANENT = (
    AuthorizationExpiredError,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    UnauthorizedError,
)
_TRANSIENT = (
    CommitStateUnknownException,
    OSError,
    RESTError,
    RequestException,
    SQLAlchemyError,
    WaitingForLockException,
    pa.ArrowException,
)


class Conflict(StoreUnavailable):
    """Another writer changed the table first; nothing of this commit was written."""


def open_catalog(name: str, folder: str) -> Catalog:
    """
    Open the catalog `name` of pyiceberg's configuration, or else a catalog in a local folder.

    The local catalog is a SQLite file, with the tables beside it; Spark can read it too.

    Raises:
        InvalidInput: pyiceberg's configuration is invalid.
        StoreUnavailable: The catalog does not answer.
    """
    try:
        # Read on each call: pyiceberg itself keeps what it read at import.
        configuration = Config().get_catalog_config(name)
    except ValueError as exc:
        raise _invalid_configuration(name, exc) from exc
    if configuration:
        with map_errors(f"the catalog {name}"):
            try:
                return load_catalog(name, **{key: str(configuration[key]) for key in configuration})
            except (ValueError, TypeError) as exc:
                raise _invalid_configuration(name, exc) from exc
    path = Path(folder).absolute()
    with map_errors(f"the catalog in {folder}"):
        path.mkdir(parents=True, exist_ok=True)
        return load_catalog(
            name,
            type="sql",
            uri=f"sqlite:///{path / 'catalog.db'}",
            warehouse=(path / "warehouse").as_uri(),
        )


def _invalid_configuration(name: str, exc: Exception) -> InvalidInput:
    return InvalidInput(f"invalid pyiceberg configuration of the catalog {name}: {exc}")


@contextmanager
def map_errors(subject: str) -> Iterator[None]:
    """
    Turn the errors of a catalog and its files into ours.

    Raises:
        Conflict: Another commit was first.
        StoreUnavailable: No answer, or the outcome of a commit is unknown.
        StoreRefused: An error that a retry does not change.
    """
    try:
        yield
    except CommitFailedException as exc:
        raise Conflict(f"{subject}: another commit was first") from exc
    except _PERMANENT as exc:
        raise StoreRefused(f"{subject}: {type(exc).__name__}") from exc
    except _TRANSIENT as exc:
        raise StoreUnavailable(f"{subject}: {type(exc).__name__}") from exc
