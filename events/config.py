"""Settings from the environment, and from a file `.env` in the working directory."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
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
        description="Table of the events; the counters' table adds _hourly_counts to it.",
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

    @property
    def is_local(self) -> bool:
        """Whether the database is on this machine: its address is a loopback one."""
        host = urlsplit(self.dynamodb_endpoint_url).hostname or ""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False
