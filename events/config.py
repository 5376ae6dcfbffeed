"""Settings from the environment, and from a file `.env` in the working directory."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _endpoint(text: str) -> str:
    if text:
        try:
            parts = urlsplit(text)
            is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # brackets that do not close, a port that is no number or too large
            is_address = False
        if not is_address:
            raise ValueError(
                "is no address like http://localhost:9000; leave it empty for AWS itself"
            )
    return text


def _table_name(text: str) -> str:
    # A name has 3 to 255 characters (API Reference, CreateTable); the counters' table adds 14.
    if not re.fullmatch(r"[a-zA-Z0-9_.\-]{3,241}", text):
        raise ValueError("is no table's name: it has 3 to 241 of letters, digits, _ - and .")
    return text


def _topic(text: str) -> str:
    # A name has at most 249 characters (Kafka's "Topic" class); the dead letters' adds 12.
    if not re.fullmatch(r"[a-zA-Z0-9._\-]{1,237}", text) or text in {".", ".."}:
        raise ValueError("is no topic's name: it has 1 to 237 of letters, digits, _ - and .")
    return text


def _origins(text: str) -> str:
    for origin in text.split():
        if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin):
            raise ValueError(
                f"has {origin!r}, which is no origin like https://app.example.com (scheme, host "
                "and port alone; * is not taken: name each origin)"
            )
    return text


def _rate(text: str) -> str:
    if text and not re.fullmatch(r"[1-9][0-9]{0,8}/(?:second|minute|hour|day)", text):
        raise ValueError("is no rate like 100/second (or minute, hour, day); empty is no limit")
    return text


Rate = Annotated[str, AfterValidator(_rate)]


class Settings(BaseSettings):
    """
    Everything that can be set; each field is the environment variable of the same name.

    A variable of the environment wins over the same name in `.env`.
    """

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore")

    dynamodb_endpoint_url: Annotated[str, AfterValidator(_endpoint)] = Field(
        default="http://localhost:9000",
        description="Where DynamoDB answers. Empty: AWS itself, with its normal credential chain.",
    )
    dynamodb_events_table_name: Annotated[str, AfterValidator(_table_name)] = Field(
        default="customer_events",
        description="Table of the events; the counters' table adds _hourly_counts to it, the list "
        "of changes _changes.",
    )
    aws_region: str = Field(
        default="",
        description="Region of the tables. Empty: as AWS's own configuration says.",
    )
    events_store_patience_seconds: float = Field(
        default=10,
        ge=0,
        le=540,
        description="How long the API goes on asking a store that fails, before it answers 503.",
    )
    events_ingest_patience_seconds: float = Field(
        default=60,
        ge=0,
        le=540,
        description="The same for a file: how long before the run ends with exit code 2.",
    )
    events_write_threads: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Transactions under way at a time, in one process.",
    )
    events_read_threads: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Counts of raw events under way at a time, in one process.",
    )
    events_api_keys: Literal["off", "on"] = Field(
        default="off",
        description="`on`: every request needs an API key. `off`: only this machine is served.",
    )
    events_api_keys_cache_seconds: float = Field(
        default=5,
        ge=0,
        le=60,
        description="How long a key that was good is not looked up again: a revoked one works on "
        "for at most this long.",
    )
    events_cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        default="",
        description="Origins whose pages may call the API from a browser, with spaces between.",
    )
    events_rate_per_key: Rate = Field(
        default="1000/second",
        description="Requests that one API key may send, for each process. Empty: no limit.",
    )
    events_rate_per_address: Rate = Field(
        default="1000/second",
        description="Requests that one address may send, for each process. Empty: no limit.",
    )
    events_rate_of_wrong_keys: Rate = Field(
        default="60/minute",
        description="Requests without a good API key that one address may send, for each process. "
        "Empty: no limit.",
    )
    events_max_requests: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Requests under way at a time, in one process; more are answered 503.",
    )
    events_max_events_per_request: int = Field(
        default=1_000, ge=1, le=10_000, description="Events in one request."
    )
    events_max_body_bytes: int = Field(
        default=4_194_304,
        ge=1_024,
        le=104_857_600,
        description="Bytes of one body, also after unzipping.",
    )
    events_max_buffered_bytes: int = Field(
        default=67_108_864,
        ge=1_048_576,
        le=10_737_418_240,
        description="Bytes of all bodies that are being received, in one process; more are "
        "answered 503.",
    )
    events_body_timeout_seconds: float = Field(
        default=30, ge=0.1, le=600, description="How long a client may take to send a body."
    )
    events_keep_alive_seconds: int = Field(
        default=75,
        ge=1,
        le=3_600,
        description="How long `serve` keeps a connection that idles between two requests: longer "
        "than a proxy or load balancer in front does.",
    )
    events_log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`auto`: text on a terminal, else one JSON object a line."
    )
    events_log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged; `info` has a line a request."
    )
    events_drain_seconds: float = Field(
        default=0,
        ge=0,
        le=300,
        description="How long /readyz says 503 after SIGTERM before the server takes nothing more "
        "in; for a load balancer that looks there.",
    )

    events_kafka_bootstrap_servers: str = Field(
        default="localhost:9092",
        min_length=1,
        description="Where Kafka answers: host:port, several with commas between.",
    )
    events_kafka_topic: Annotated[str, AfterValidator(_topic)] = Field(
        default="events",
        description="Topic of the events; the one for messages that are none adds .dead-letter.",
    )
    events_kafka_partitions: int = Field(
        default=12,
        ge=1,
        le=10_000,
        description="Partitions of a topic that is made because it is not there.",
    )
    events_kafka_group: str = Field(
        default="events-counts",
        min_length=1,
        max_length=249,
        description="Consumer group of `consume`.",
    )
    events_kafka_properties_file: str = Field(
        default="",
        description="File of further librdkafka properties, one name=value a line: TLS, SASL.",
    )
    events_kafka_batch_events: int = Field(
        default=500, ge=1, le=10_000, description="Events that `consume` hands on together."
    )
    events_kafka_batch_seconds: float = Field(
        default=0.2,
        ge=0,
        le=60,
        description="How long `consume` waits for a batch to fill.",
    )
    events_kafka_max_messages: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Messages held in one process: those that `consume` has read from the first "
        "that is not done on, or those that wait for Kafka.",
    )
    events_kafka_max_bytes: int = Field(
        default=33_554_432,
        ge=1_024,
        le=2_147_483_647,
        description="Bytes of messages held in one process, as above.",
    )
    events_kafka_max_message_bytes: int = Field(
        default=65_536,
        ge=8_192,  # the longest event there can be takes less
        le=104_857_600,
        description="Bytes of one message; `consume` makes longer ones dead letters unread.",
    )
    events_ingest: Literal["store", "kafka"] = Field(
        default="store",
        description="Where `POST /events` puts events: `store`, counted before the answer; "
        "`kafka`, counted once `consume` comes to them.",
    )

    events_iceberg_catalog: str = Field(
        default="events",
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$",
        description="Name of the Iceberg catalog in pyiceberg's configuration; where that has none "
        "of this name, it is a file of this machine.",
    )
    events_iceberg_folder: str = Field(
        default=".local/iceberg",
        min_length=1,
        description="Folder of that catalog and its tables.",
    )
    events_archive_rows: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="Messages after which `archive` commits; they are held in memory until then.",
    )
    events_archive_seconds: float = Field(
        default=60,
        ge=0.1,
        le=86_400,
        description="Seconds after which `archive` commits what it has.",
    )

    events_counts: Literal["exact", "windowed"] = Field(
        default="exact",
        description="`exact`: counts of the stored events. `windowed`: those of "
        "`jobs/stream_counts.py`, whole hours alone, to be read and not written.",
    )
    events_watermark_seconds: int = Field(
        default=86_400,
        ge=1,
        le=1_000_000_000,
        description="How much later than the newest event an event may come to be in the windowed "
        "counts.",
    )

    @property
    def are_api_keys_on(self) -> bool:
        return self.events_api_keys == "on"

    @property
    def is_local(self) -> bool:
        """Whether the database is on this machine: its address is a loopback one."""
        host = urlsplit(self.dynamodb_endpoint_url).hostname or ""
        return host == "localhost" or is_loopback(host)


def is_loopback(address: str) -> bool:
    """
    Whether an IP address belongs to this machine: 127.0.0.0/8 or ::1.

    Host names and file paths are not addresses: False.
    """
    try:
        # An IPv6 address may name its network interface: `fe80::1%eth0`.
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
