"""One Spark, started once for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pyspark.sql import SparkSession

from events.config import Settings
from events.errors import InvalidInput
from events.local.javaserver import LocalServerError
from jobs.lib.session import opened_session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A Spark session; jobs that run in this process use it too."""
    try:
        stack = ExitStack()
        session = stack.enter_context(opened_session("tests", Settings()))
        with stack:
            yield session
    except (InvalidInput, LocalServerError) as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Spark: {exc}")
