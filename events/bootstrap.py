"""Settings to client to store to service: the one place that puts them together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, InvalidRegionError, NoRegionError
from pydantic import ValidationError

from events.auth.keyring import KeyRing
from events.auth.keystore import DynamoKeyStore
from events.config import INGEST_PATIENCE_SECONDS, Settings
from events.dao import DynamoStore, WindowedStore
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.dynamodb.bulk import BulkLoader
from events.errors import InvalidInput
from events.kafka import check_installed
from events.service import EventService

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from events.kafka.producer import KafkaSink

#: Threads in which requests of the API run (AnyIO's default); each may hold a connection.
_REQUEST_THREADS = 40
#: Threads per process that count raw events of busy hours.
_READ_THREADS = 8
#: How long a command looks for its store before it says that there is none.
SECONDS_TO_FIND_THE_STORE = 3
#: Key id and secret for a database on this machine; it takes letters and digits only.
_PLACEHOLDER = "local"


def load_settings() -> Settings:
    """The settings of this process; raises `InvalidInput` that names each wrong one."""
    try:
        return Settings()
    except ValidationError as exc:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc'])).upper()} is {error['input']!r}: "
            f"{error.get('ctx', {}).get('error', error['msg'])}"
            for error in exc.errors()
        )
        raise InvalidInput(f"settings (environment or .env): {wrong}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidInput("settings: the file .env is not UTF-8: save it as UTF-8") from exc


def make_client(settings: Settings) -> DynamoDBClient:
    """
    The DynamoDB client; nothing is sent yet.

    A database on this machine gets placeholder credentials and no proxy, so that neither real
    credentials reach it nor placeholders anything else.

    Raises:
        InvalidInput: AWS itself is asked for, in no region or one that cannot be.
    """
    config = Config(
        # One attempt a call: the retries are ours, and a resend of a write keeps its token.
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=2,
        read_timeout=10,
        max_pool_connections=_REQUEST_THREADS + settings.events_write_threads + _READ_THREADS,
        tcp_keepalive=True,
        # Our own code makes every request; checking each again takes longer than sending it.
        parameter_validation=False,
        proxies={} if settings.is_local else None,
    )
    placeholder = _PLACEHOLDER if settings.is_local else None
    region = settings.aws_region or ("us-east-1" if settings.is_local else None)
    try:
        return boto3.session.Session().client(
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
    except BotoCoreError as exc:  # a profile that is not there, a file that cannot be read
        raise InvalidInput(f"the AWS configuration of this machine: {exc}") from exc


def make_store(
    settings: Settings, *, patience_seconds: float, may_make_tables: bool = True
) -> DynamoStore:
    kind, tables = DynamoStore, Tables.named(settings.dynamodb_events_table_name)
    if settings.events_counts == "windowed":
        kind, tables = WindowedStore, windowed_tables(settings)
    return kind(
        make_client(settings),
        tables,
        retry=RetryPolicy(patience_seconds),
        readers=_READ_THREADS,
        may_make_tables=may_make_tables,
    )


def make_service(
    settings: Settings, *, patience_seconds: float | None = None, may_make_tables: bool = True
) -> EventService:
    """The service on its store; `patience_seconds` None is that of the API."""
    if patience_seconds is None:
        patience_seconds = settings.events_store_patience_seconds
    store = make_store(settings, patience_seconds=patience_seconds, may_make_tables=may_make_tables)
    return EventService(store, write_threads=settings.events_write_threads)


def windowed_tables(settings: Settings) -> Tables:
    """Where the stream's counts are; nothing is ever in its table of events."""
    return Tables.named(f"{settings.dynamodb_events_table_name}_windowed")


def make_bulk_loader(settings: Settings, *, is_windowed: bool = False) -> BulkLoader:
    """What fills tables; with `is_windowed`, those of the stream's counts."""
    named = Tables.named(settings.dynamodb_events_table_name)
    return BulkLoader(
        make_client(settings),
        windowed_tables(settings) if is_windowed else named,
        retry=RetryPolicy(INGEST_PATIENCE_SECONDS),
    )


def make_key_store(
    settings: Settings, *, patience_seconds: float, may_make_tables: bool = False
) -> DynamoKeyStore:
    return DynamoKeyStore(
        make_client(settings),
        settings.dynamodb_events_table_name,
        retry=RetryPolicy(patience_seconds),
        may_make_tables=may_make_tables,
    )


def make_key_ring(settings: Settings) -> KeyRing | None:
    """What tells callers by their keys; None where keys are off."""
    if not settings.are_api_keys_on:
        return None
    store = make_key_store(settings, patience_seconds=settings.events_store_patience_seconds)
    return KeyRing(store)


def check_sink(settings: Settings) -> None:
    """
    Whether the sink that is set can take every request that the limits allow.

    Raises:
        InvalidInput: What it needs is not installed, or its queue is shorter than a request may
            be: that one would be answered 503 however often it came.
    """
    if settings.events_ingest != "kafka":
        return
    check_installed()
    # A message has an event's own key as well: that is never twice the event in a body.
    if settings.events_kafka_max_bytes < 2 * settings.events_max_body_bytes:
        raise InvalidInput(
            f"EVENTS_KAFKA_MAX_BYTES is {settings.events_kafka_max_bytes:,}, and a body may have "
            f"{settings.events_max_body_bytes:,} bytes (EVENTS_MAX_BODY_BYTES): set it to twice "
            "as many at least"
        )


@contextmanager
def open_sink(settings: Settings, service: EventService) -> Iterator[EventService | KafkaSink]:
    """The sink that is set; closed at the end, but for the service."""
    if settings.events_ingest == "store":
        yield service
        return
    # Here, because it is not installed where nothing needs Kafka.
    from events.kafka.producer import KafkaSink

    patience_seconds = settings.events_store_patience_seconds
    with closing(KafkaSink(settings, patience_seconds=patience_seconds)) as sink:
        yield sink
