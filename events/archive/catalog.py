"""Settings to an Iceberg catalog, and its errors by their cause."""

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

from events.config import Settings
from events.errors import InvalidInput, StoreRefused, StoreUnavailable

_NO_FOR_GOOD = (
    AuthorizationExpiredError,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    UnauthorizedError,
)
_PASSING = (
    CommitStateUnknownException,
    OSError,
    RESTError,
    RequestException,
    SQLAlchemyError,
    WaitingForLockException,
    pa.ArrowException,
)


class Conflict(StoreUnavailable):
    """Somebody else changed the table meanwhile: nothing of ours was committed."""


def open_catalog(settings: Settings) -> Catalog:
    """
    The catalog of that name in pyiceberg's own configuration, or one in a folder of this machine.

    The one in a folder is a SQLite file with the tables beside it; Spark reads it as well.

    Raises:
        InvalidInput: pyiceberg's configuration cannot be used.
        StoreUnavailable: The catalog does not answer.
    """
    name = settings.iceberg_catalog_name
    try:
        # Read anew: pyiceberg itself has what was there when it was imported.
        configuration = Config().get_catalog_config(name)
    except ValueError as exc:
        raise InvalidInput(f"pyiceberg's configuration of the catalog {name}: {exc}") from exc
    if configuration:
        with naming_errors(f"the catalog {name}"):
            try:
                return load_catalog(name, **{key: str(configuration[key]) for key in configuration})
            except (ValueError, TypeError) as exc:
                raise InvalidInput(
                    f"pyiceberg's configuration of the catalog {name}: {exc}"
                ) from exc
    folder = Path(settings.iceberg_folder).absolute()
    with naming_errors(f"the catalog in {settings.iceberg_folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        return load_catalog(
            name,
            type="sql",
            uri=f"sqlite:///{folder / 'catalog.db'}",
            warehouse=(folder / "warehouse").as_uri(),
        )


@contextmanager
def naming_errors(what: str) -> Iterator[None]:
    """
    Turn what a catalog and its files raise into errors of ours.

    Raises:
        Conflict: Another commit was first.
        StoreUnavailable: It did not answer, or it is not known what it did.
        StoreRefused: It said no for good.
    """
    try:
        yield
    except CommitFailedException as exc:
        raise Conflict(f"{what}: another commit was first") from exc
    except _NO_FOR_GOOD as exc:
        raise StoreRefused(f"{what}: {type(exc).__name__}") from exc
    except _PASSING as exc:
        raise StoreUnavailable(f"{what}: {type(exc).__name__}") from exc
