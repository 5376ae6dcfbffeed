"""What every test may ask for: DynamoDB Local, fresh tables on it, and a service."""

from __future__ import annotations

import gc
import os
import signal
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from events.bootstrap import make_store
from events.config import Settings
from events.dao import DynamoStore
from events.local import dynamodb
from events.local.javaserver import LocalServerError
from events.service import EventService
from tests.support.database import Database
from tests.support.pool import TablePool

PATIENCE_SECONDS = 10.0
#: Servers that run for a minute end before Java's second compiler pays for itself: four files of
#: store tests took 23 % less processor time without it.
QUICK_JAVA = " ".join(dynamodb.QUICK_JAVA)
#: How often each fault of the second tier strikes.
STRIKES = 40
#: Folders whose tests all belong to the second tier, `make test-slow`.
SLOW_FOLDERS = ("browser", "schema", "stream", "vendors")
#: Folders whose tests share what takes long to start: Spark; a browser and its servers.
SHARING_FOLDERS = ("tests/stream/spark/", "tests/browser/")
#: The second tier runs long enough for Java's second compiler: it pays for itself after a minute of
#: processor time, and then saves 40 %.
_LASTING_JAVA = ("-XX:TieredStopAtLevel=4", "-XX:+UseSerialGC")
_DATABASE = pytest.StashKey[dynamodb.DynamoDBLocal]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=3,
        help="how often each kill -9 test of the second tier kills (3; 20 before a release)",
    )


def pytest_configure() -> None:
    os.environ.setdefault("JAVA_TOOL_OPTIONS", QUICK_JAVA)
    # A job that a shell starts in the background ignores SIGINT, and so would every child.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A terminated run still stops the servers that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _is_slow(item):
            item.add_marker(pytest.mark.slow)
    # Where the run with few strikes is slow too, the one with many finds all that it would find.
    needless = [item for item in items if "[few-" in item.name and _is_slow(item)]
    config.hook.pytest_deselected(items=needless)
    items[:] = [item for item in items if item not in needless]


def pytest_collection_finish() -> None:
    # The collector would look at all imported modules and tests again and again: an eighth of the
    # processor time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """
    A test that asks for `kills` or `strikes` runs twice: with few of them, and with many.

    The second tier has the runs with many. A test that is slow anyway has no other.
    """
    many: int = metafunc.config.getoption("--kills")
    for name, few, most in (("kills", 1, many), ("strikes", 8, STRIKES)):
        if name in metafunc.fixturenames:
            runs = [pytest.param(most, id="many", marks=pytest.mark.slow)]
            if not _is_slow(metafunc.definition):
                runs.insert(0, pytest.param(few, id="few"))
            metafunc.parametrize(name, runs)


def _is_slow(item: pytest.Item) -> bool:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return folder in SLOW_FOLDERS or item.get_closest_marker("slow") is not None


# --- workers --------------------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, all tests of a sharing folder run on one worker."""
    if config.getvalue("dist") != "loadfile":
        return None
    # Imported here: tests also run without xdist.
    from xdist.scheduler.loadfile import LoadFileScheduling

    scheduling = LoadFileScheduling(config, log)
    file_of = scheduling._split_scope
    scheduling._split_scope = lambda test: next(
        (folder for folder in SHARING_FOLDERS if folder in test), file_of(test)
    )
    return scheduling


# --- one DynamoDB Local for the whole run ---------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Start the database before the first xdist worker, and tell each worker its port."""
    stash = node.config.stash
    if _DATABASE not in stash:
        is_long = node.config.option.markexpr == "slow"
        server = _start_database(_LASTING_JAVA if is_long else dynamodb.QUICK_JAVA)
        if server is None:
            return
        stash[_DATABASE] = server
        node.config.add_cleanup(server.stop)
    server = stash[_DATABASE]
    node.workerinput["database"] = (server.port, server.pid)


def _start_database(
    java_options: Sequence[str] = dynamodb.QUICK_JAVA,
) -> dynamodb.DynamoDBLocal | None:
    try:
        return dynamodb.start(java_options=java_options)
    except LocalServerError:
        if os.environ.get("CI"):
            raise
        return None


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A DynamoDB Local in memory, shared by the whole run."""
    if hasattr(request.config, "workerinput"):
        shared = request.config.workerinput.get("database")
        if shared is None:
            pytest.skip("DynamoDB Local could not be fetched or started")
        yield Database(*shared)
        return
    server = _start_database()
    if server is None:
        pytest.skip("DynamoDB Local could not be fetched or started")
    with server:
        yield Database(server.port, server.pid)


# --- settings, tables, service --------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor a `.env` in the checkout decides what a test sees."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(scope="session")
def table_pool(database: Database) -> Iterator[TablePool]:
    """Tables that this worker's tests use one after the other."""
    pool = TablePool(database.endpoint_url)
    yield pool
    pool.client.close()


@pytest.fixture
def settings(request: pytest.FixtureRequest, database: Database) -> Iterator[Settings]:
    """Settings with a table name that nothing else uses; the tables exist only with `store`."""
    settings = Settings(dynamodb_endpoint_url=database.endpoint_url)
    if "store" not in request.fixturenames:
        name = f"t{uuid.uuid4().hex}"
        yield settings.model_copy(update={"dynamodb_events_table_name": name})
        return
    pool: TablePool = request.getfixturevalue("table_pool")
    with pool.take() as name:
        yield settings.model_copy(update={"dynamodb_events_table_name": name})


@pytest.fixture
def store(settings: Settings) -> Iterator[DynamoStore]:
    """An empty store whose tables exist."""
    store = make_store(settings, patience_seconds=PATIENCE_SECONDS)
    yield store
    store.close()


@pytest.fixture
def service(store: DynamoStore) -> Iterator[EventService]:
    service = EventService(store, write_threads=4)
    yield service
    service.close()
