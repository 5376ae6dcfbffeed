"""Settings from the environment and from a `.env` file in the working directory."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _endpoint(text: str) -> str:
    if text:
        try:
            parts = urlsplit(text)
            is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # an unclosed bracket, or an invalid port
            is_url = False
        if not is_url:
            raise ValueError("not a URL like http://localhost:9000; leave it empty for AWS itself")
    return text


def _catalog(text: str) -> str:
    _, slash, name = text.rpartition("/")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name.replace("-", "_") if slash else name):
        raise ValueError(
            "not a catalog: use a name of letters, digits and _ that starts with a letter, or the "
            "path of a folder with such a name, such as /data/events; it may also have hyphens"
        )
    return text


def _origins(text: str) -> str:
    for origin in text.split():
        if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin):
            raise ValueError(
                f"{origin!r} is not an origin like https://app.example.com (scheme, host and "
                "port only; * is not supported: name each origin)"
            )
    return text


def _matching(pattern: str, message: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(message)
        return text

    return AfterValidator(check)


# DynamoDB allows 3 to 255 characters; the suffix of the counters' table takes 14 of them.
_TableName = Annotated[
    str,
    _matching(
        r"[a-zA-Z0-9_.\-]{3,241}",
        "not a table name: use 3 to 241 letters, digits, _, - and .",
    ),
]
# Kafka allows 249 characters; the suffix of the dead-letter topic takes 12 of them.
_Topic = Annotated[
    str,
    _matching(
        r"(?!\.{1,2}$)[a-zA-Z0-9._\-]{1,237}",
        "not a topic name: use 1 to 237 letters, digits, _, - and .",
    ),
]
_Rate = Annotated[
    str,
    _matching(
        r"(?:[1-9][0-9]{0,8}/(?:second|minute|hour|day))?",
        "not a rate like 100/second (or minute, hour, day); empty means no limit",
    ),
]
#: Seconds for which commands and streams retry a store or broker that does not answer.
INGEST_PATIENCE_SECONDS = 60.0


class Settings(BaseSettings):
    """
    All settings. Each field is the environment variable of the same name in capitals.

    A variable in the environment overrides the same name in `.env`.
    """

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore")

    events_database_url: str = Field(
        default="",
        description="Store events in SQLite (`sqlite:///events.db`) or PostgreSQL "
        "(`postgresql://user@host/database`). Empty means DynamoDB.",
    )
    dynamodb_endpoint_url: Annotated[str, AfterValidator(_endpoint)] = Field(
        default="http://localhost:9000",
        description="URL of DynamoDB. Empty means AWS itself, with its usual credential chain.",
    )
    dynamodb_events_table_name: _TableName = Field(
        default="customer_events",
        description="Table for events. The names of all other tables start with this name.",
    )
    aws_region: str = Field(
        default="",
        description="AWS region of the tables. Empty means the region of the AWS configuration.",
    )
    events_store_patience_seconds: float = Field(
        default=10,
        ge=0,
        le=540,
        description="Seconds for which the API retries a failing store before it answers 503.",
    )
    events_write_threads: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Maximum number of concurrent write transactions per process.",
    )
    events_max_shards: int = Field(
        default=16,
        ge=1,
        le=64,
        description="Maximum shards that a busy customer gets automatically (DynamoDB). `1`: never "
        "more than the customer has.",
    )
    events_api_keys: Literal["off", "on"] = Field(
        default="off",
        description="`on`: every request needs an API key. `off`: the API answers only requests "
        "from the same machine.",
    )
    events_cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        default="",
        description="Origins whose web pages may call the API (CORS), separated by spaces.",
    )
    events_rate_per_key: _Rate = Field(
        default="1000/second",
        description="Rate limit per API key and process. Empty means no limit.",
    )
    events_rate_per_address: _Rate = Field(
        default="1000/second",
        description="Rate limit per client address and process. Empty means no limit.",
    )
    events_max_body_bytes: int = Field(
        default=4_194_304,
        ge=1_024,
        le=104_857_600,
        description="Maximum size of a request body in bytes, before and after decompression.",
    )
    events_log_format: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="Log format. `auto`: text on a terminal, otherwise one JSON object per line.",
    )
    events_log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Minimum log level. `info` logs one line per request."
    )
    events_ingest: Literal["store", "kafka"] = Field(
        default="store",
        description="Where `POST /events` writes. `store`: events are counted before the answer. "
        "`kafka`: events are counted when `consume` reads them.",
    )
    events_kafka_bootstrap_servers: str = Field(
        default="localhost:9092",
        min_length=1,
        description="Kafka brokers as `host:port`, separated by commas.",
    )
    events_kafka_topic: _Topic = Field(
        default="events",
        description="Topic for events. Invalid messages go to `<topic>.dead-letter`.",
    )
    events_kafka_group: str = Field(
        default="events-counts",
        min_length=1,
        max_length=249,
        description="Consumer group of `consume`.",
    )
    events_kafka_properties_file: str = Field(
        default="",
        description="File with more librdkafka properties, one `name=value` per line, for example "
        "for TLS and SASL.",
    )
    events_iceberg_catalog: Annotated[str, AfterValidator(_catalog)] = Field(
        default="events",
        description="Iceberg catalog: a name in pyiceberg's configuration, or the path of a local "
        "folder such as `/data/events`. An unknown name means the folder `.local/iceberg`.",
    )
    events_counts: Literal["exact", "windowed"] = Field(
        default="exact",
        description="`exact`: the API counts stored events. `windowed`: the API serves the "
        "approximate counts of `jobs/stream_counts.py`, read-only, whole hours only.",
    )
    events_watermark_seconds: int = Field(
        default=86_400,
        ge=1,
        le=1_000_000_000,
        description="Watermark of the windowed counts in seconds: events more than "
        "this much older than the newest event are not counted.",
    )

    def environment(self) -> dict[str, str]:
        """The environment variables that make these settings."""
        return {name.upper(): str(value) for name, value in self.model_dump().items()}

    @property
    def are_api_keys_on(self) -> bool:
        return self.events_api_keys == "on"

    @property
    def is_local(self) -> bool:
        """Whether DynamoDB runs on this machine: its host is a loopback address."""
        host = urlsplit(self.dynamodb_endpoint_url).hostname or ""
        return re.fullmatch(r"localhost|127(\.[0-9]{1,3}){3}|::1", host) is not None

    @property
    def iceberg_catalog_name(self) -> str:
        # Spark's SQL has no name with a hyphen.
        return self.events_iceberg_catalog.rpartition("/")[2].replace("-", "_")

    @property
    def iceberg_folder(self) -> str:
        """Folder of a catalog that is not in pyiceberg's configuration."""
        is_path = "/" in self.events_iceberg_catalog
        return self.events_iceberg_catalog if is_path else ".local/iceberg"
