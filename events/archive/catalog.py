"""Opens an Iceberg catalog, and turns its errors into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyiceberg import exceptions
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.utils.config import Config
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from events.errors import InvalidInput, StoreRefused, StoreUnavailable

_PERMANENT = (
    exceptions.AuthorizationExpiredError,
    exceptions.ForbiddenError,
    exceptions.NoSuchNamespaceError,
    exceptions.NoSuchTableError,
    exceptions.UnauthorizedError,
)
_TRANSIENT = (
    exceptions.CommitStateUnknownException,
    OSError,
    exceptions.RESTError,
    RequestException,
    SQLAlchemyError,
    exceptions.WaitingForLockException,
    pa.ArrowException,
)


class Conflict(StoreUnavailable):
    """Another writer changed the table first; nothing of this commit was written."""


def open_catalog(name: str, folder: str) -> Catalog:
    """
    Open the catalog `name` of pyiceberg's configuration, or else a catalog in a local folder.

    The local catalog is a SQLite file, with the tables beside it; Spark can read it too.
    """
    with map_errors(f"the catalog {name}"):
        try:
            # Read on each call: pyiceberg itself keeps what it read at import.
            if configuration := Config().get_catalog_config(name):
                return load_catalog(name, **{key: str(configuration[key]) for key in configuration})
        except (ValueError, TypeError) as exc:
            problem = f"invalid pyiceberg configuration of the catalog {name}: {exc}"
            raise InvalidInput(problem) from exc
    path = Path(folder).absolute()
    with map_errors(f"the catalog in {folder}"):
        path.mkdir(parents=True, exist_ok=True)
        return load_catalog(
            name,
            type="sql",
            uri=f"sqlite:///{path / 'catalog.db'}",
            warehouse=(path / "warehouse").as_uri(),
        )


@contextmanager
def map_errors(subject: str) -> Iterator[None]:
    """Turn the errors of a catalog and its files into ours."""
    try:
        yield
    except exceptions.CommitFailedException as exc:
        raise Conflict(f"{subject}: another commit was first") from exc
    except _PERMANENT as exc:
        raise StoreRefused(f"{subject}: {type(exc).__name__}") from exc
    except _TRANSIENT as exc:
        raise StoreUnavailable(f"{subject}: {type(exc).__name__}") from exc
