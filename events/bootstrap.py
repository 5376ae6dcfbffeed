"""Build clients, stores and services from the settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import ValidationError

from events import __version__
from events.auth.keyring import KeyRing, KeyStore
from events.config import INGEST_PATIENCE_SECONDS, Settings
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.errors import InvalidInput
from events.kafka import check_installed
from events.service import EventService, Store, without_events

# The drivers of the stores are imported where they are used: a process needs one of them, and
# importing it takes as long as everything else together.
if TYPE_CHECKING:
    import botocore.session
    from botocore.loaders import Loader
    from mypy_boto3_dynamodb import DynamoDBClient

    from events.dao import DynamoStore
    from events.dynamodb.bulk import BulkLoader
    from events.kafka.producer import KafkaSink
    from events.sql.bulk import BulkLoader as SqlBulkLoader

#: Threads that run API requests (AnyIO's default); each may hold a connection.
_REQUEST_THREADS = 40
#: Threads per process that count raw events of busy hours and read the shards of a customer.
_READ_THREADS = 16
#: How long a command waits for its store before it fails.
SECONDS_TO_FIND_THE_STORE = 3
#: Access key and secret for DynamoDB Local, which accepts letters and digits only.
_PLACEHOLDER = "local"


def load_settings() -> Settings:
    """The settings of this process; raises `InvalidInput` with all invalid settings."""
    try:
        settings = Settings()
    except ValidationError as exc:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc'])).upper()} is {error['input']!r}: "
            f"{error.get('ctx', {}).get('error', error['msg'])}"
            for error in exc.errors()
        )
        raise InvalidInput(f"settings (environment or .env): {wrong}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidInput("settings: .env is not UTF-8: save it as UTF-8") from exc
    if settings.events_database_url and find_spec("sqlalchemy") is None:
        raise InvalidInput(
            "EVENTS_DATABASE_URL needs SQLAlchemy: run python -m pip install 'events[sql]'"
        )
    return settings


def make_client(settings: Settings) -> DynamoDBClient:
    """
    Make a DynamoDB client, without sending a request.

    For a local database it uses placeholder credentials and no proxy, so that no real credentials
    are sent to it and the placeholders are sent nowhere else.

    Raises:
        InvalidInput: The region is missing or invalid, or the AWS configuration is unusable.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, InvalidRegionError, NoRegionError

    config = Config(
        # One attempt per call: the store retries itself, because a resent write keeps its token.
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=2,
        read_timeout=10,
        max_pool_connections=_REQUEST_THREADS + settings.events_write_threads + _READ_THREADS,
        tcp_keepalive=True,
        # Validating a request takes longer than sending it, and only this code builds them.
        parameter_validation=False,
        # botocore composes its own twice for each request: a tenth of a query's processor time.
        user_agent=f"events/{__version__}",
        proxies={} if settings.is_local else None,
    )
    placeholder = _PLACEHOLDER if settings.is_local else None
    region = settings.aws_region or ("us-east-1" if settings.is_local else None)
    try:
        return boto3.session.Session(botocore_session=_botocore_session()).client(
            "dynamodb",
            endpoint_url=settings.dynamodb_endpoint_url or None,
            region_name=region,
            aws_access_key_id=placeholder,
            aws_secret_access_key=placeholder,
            config=config,
        )
    except (NoRegionError, InvalidRegionError) as exc:
        raise InvalidInput(
            f"AWS_REGION is {settings.aws_region!r}: set it to the region of the tables, such as "
            "eu-west-1"
        ) from exc
    except BotoCoreError as exc:  # a missing profile, an unreadable file
        raise InvalidInput(f"the AWS configuration of this machine: {exc}") from exc


def _botocore_session() -> botocore.session.Session:
    import botocore.session

    session = botocore.session.Session()
    session.register_component("data_loader", _api_descriptions())
    return session


@cache
def _api_descriptions() -> Loader:
    """DynamoDB's API as botocore describes it: reading the files again takes 0.1 s per client."""
    import botocore.session

    loader: Loader = botocore.session.Session().get_component("data_loader")
    return loader


def make_store(
    settings: Settings, *, patience_seconds: float, may_make_tables: bool = True
) -> DynamoStore:
    """The store on DynamoDB."""
    from events.dao import DynamoStore

    return DynamoStore(
        make_client(settings),
        tables_of(settings, is_windowed=settings.events_counts == "windowed"),
        retry=RetryPolicy(patience_seconds),
        readers=_READ_THREADS,
        may_make_tables=may_make_tables,
        max_shards=settings.events_max_shards,
    )


def make_service(
    settings: Settings, *, patience_seconds: float | None = None, may_make_tables: bool = True
) -> EventService:
    """Make the service; `patience_seconds` None uses the setting for the API."""
    if patience_seconds is None:
        patience_seconds = settings.events_store_patience_seconds
    store = open_store(settings, patience_seconds=patience_seconds, may_make_tables=may_make_tables)
    return EventService(store, write_threads=settings.events_write_threads)


def open_store(
    settings: Settings, *, patience_seconds: float, may_make_tables: bool = True
) -> Store:
    """The store that the settings name: DynamoDB, SQLite or PostgreSQL."""
    is_windowed = settings.events_counts == "windowed"
    store: Store
    if settings.events_database_url:
        from events.sql.store import SqlStore

        store = SqlStore(
            settings.events_database_url,
            retry=RetryPolicy(patience_seconds),
            writers=settings.events_write_threads,
            may_make_tables=may_make_tables,
            is_windowed=is_windowed,
        )
    else:
        store = make_store(
            settings, patience_seconds=patience_seconds, may_make_tables=may_make_tables
        )
    return without_events(store) if is_windowed else store


def check_store_settings(settings: Settings) -> str:
    """
    Check how the store is configured, without connecting; raises `InvalidInput`.

    Returns the URL of the store without its password; empty means AWS.
    """
    if settings.events_database_url:
        from events.sql.engines import parse_url

        return parse_url(settings.events_database_url).render_as_string()
    make_client(settings).close()
    return settings.dynamodb_endpoint_url


def sql_schema(settings: Settings) -> Sequence[str]:
    """The statements that create the tables of a SQL database; raises `InvalidInput`."""
    from events.sql.engines import parse_url
    from events.sql.schema import script

    return script(parse_url(settings.events_database_url).get_backend_name())


def tables_of(settings: Settings, *, is_windowed: bool) -> Tables:
    """Names of the event tables, or of the tables for windowed counts."""
    suffix = "_windowed" if is_windowed else ""
    return Tables.named(settings.dynamodb_events_table_name + suffix)


def make_bulk_loader(
    settings: Settings, *, is_windowed: bool = False
) -> BulkLoader | SqlBulkLoader:
    """Make what fills empty tables; with `is_windowed`, the tables of windowed counts."""
    retry = RetryPolicy(INGEST_PATIENCE_SECONDS)
    if url := settings.events_database_url:
        from events.sql.bulk import BulkLoader as SqlBulkLoader

        return SqlBulkLoader(url, retry=retry, is_windowed=is_windowed)
    from events.dynamodb.bulk import BulkLoader

    tables = tables_of(settings, is_windowed=is_windowed)
    return BulkLoader(make_client(settings), tables, retry=retry)


def make_key_store(
    settings: Settings, *, patience_seconds: float, may_make_tables: bool = False
) -> KeyStore:
    if settings.events_database_url:
        from events.auth.sqlkeystore import SqlKeyStore

        return SqlKeyStore(
            settings.events_database_url,
            retry=RetryPolicy(patience_seconds),
            may_make_tables=may_make_tables,
        )
    from events.auth.keystore import DynamoKeyStore

    return DynamoKeyStore(
        make_client(settings),
        settings.dynamodb_events_table_name,
        retry=RetryPolicy(patience_seconds),
        may_make_tables=may_make_tables,
    )


def make_key_ring(settings: Settings) -> KeyRing | None:
    """Make what authenticates callers; None if API keys are switched off."""
    if not settings.are_api_keys_on:
        return None
    store = make_key_store(
        settings,
        patience_seconds=settings.events_store_patience_seconds,
        # A SQL database gets all its tables at once, from the first process that needs one.
        may_make_tables=bool(settings.events_database_url),
    )
    return KeyRing(store)


def check_sink(settings: Settings) -> None:
    """Raise `InvalidInput` if the library of the configured sink is not installed."""
    if settings.events_ingest == "kafka":
        check_installed()


@contextmanager
def open_sink(settings: Settings, service: EventService) -> Iterator[EventService | KafkaSink]:
    """Open the configured sink; a Kafka sink is closed at the end."""
    if settings.events_ingest == "store":
        yield service
        return
    # Imported here, because the Kafka client is optional.
    from events.kafka.clients import Cluster
    from events.kafka.producer import MAX_BYTES, KafkaSink

    sink = KafkaSink(
        Cluster.of(settings),
        settings.events_kafka_topic,
        patience_seconds=settings.events_store_patience_seconds,
        # The longest body fits: a message is never twice as long as its event in the body.
        max_bytes=max(MAX_BYTES, 2 * settings.events_max_body_bytes),
    )
    with closing(sink):
        yield sink
