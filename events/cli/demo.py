"""`python -m events demo`: all parts at once on live events, and their counts compared."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from typer import Option

from events.cli import EXIT_DIFFERENT, EXIT_OK, command, say
from events.cli.children import Child, ChildDied, Children
from events.cli.options import OtherPort
from events.cli.output import write_result
from events.errors import InvalidInput, StoreUnavailable
from events.local.jars import CHECKOUT
from events.local.javaserver import check_port, free_port

if TYPE_CHECKING:
    from events.config import Settings

#: Modules that the parts import, besides the engine's own.
_MODULES = ("confluent_kafka", "pyiceberg", "sklearn", "duckdb")
_ENGINES = {"flink": "py4j", "spark": "pyspark"}
#: No second compiler: Java starts with less processor time. Not with Spark, which computes more.
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_STREAMS = {
    "flink": "-m jobs.flink_counts stream --checkpoint checkpoint --watermark-seconds 60 "
    "--flink-option execution.checkpointing.interval={milliseconds:.0f}ms "
    "--flink-option pipeline.auto-watermark-interval=50ms",
    # So long that no event of the demo is late.
    "spark": "-m jobs.stream_counts --checkpoint checkpoint --watermark-seconds 2592000",
}

Every = Annotated[
    float, Option(min=1, max=86_400, metavar="SECONDS", help="Time between two comparisons.")
]
Rate = Annotated[int, Option(min=1, max=1_000, help="Messages per second.")]
Engine = Annotated[
    Literal["flink", "spark"],
    Option(help="What counts the stream. Flink needs no JDK, Spark needs JDK 17 or 21."),
]
Data = Annotated[
    Path | None,
    Option(metavar="FOLDER", help="Where to keep the data (default: a temporary folder)."),
]


@command(exit_when_stopped=EXIT_OK)
def demo(
    every: Every = 60, rate: Rate = 20, engine: Engine = "flink", port: OtherPort = None,
    data: Data = None,
) -> int:  # fmt: skip
    """
    Run all parts at once on live events, and compare their counts.

    Starts the database, a broker with tiered storage, the API, consume, archive, streaming counts,
    billing and the search for anomalies, and sends events to the topic: some twice, some late, some
    invalid. Prints every minute what each path has counted, and whether they are equal. Works only
    in a checkout, because examples/ is not in the package. Ctrl-C or SIGTERM ends everything.

    Exit code: 0 stopped; 1 a part ended by itself; 2 could not run.
    """
    check_installed(engine)
    port = port or free_port()
    check_port(port)
    folder = (data or Path(tempfile.mkdtemp(prefix="events-demo-"))).absolute()
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not with nohup
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    try:
        _run(folder, port, every, rate, engine)
    except ChildDied as exc:
        say(f"error: {exc}")
        return EXIT_DIFFERENT
    except KeyboardInterrupt:
        if data is None:  # an error keeps the folder, which has the logs
            shutil.rmtree(folder, ignore_errors=True)
        raise


def check_installed(engine: str, checkout: Path = CHECKOUT) -> None:
    """Raise `InvalidInput` if the demo cannot run here."""
    if not (checkout / "examples").is_dir():
        raise InvalidInput(
            "demo works only in a checkout, because examples/ is not in the package: run "
            "python -m events demo in a clone of the repository"
        )
    missing = [name for name in (*_MODULES, _ENGINES[engine]) if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"{', '.join(missing)} not installed: run python -m pip install "
            f"-r requirements-{engine}.txt -r requirements-forecast.txt"
        )
    if engine == "spark":
        from events.local.spark import check_java

        try:
            check_java()
        except InvalidInput as exc:
            raise InvalidInput(
                f"{exc}. To install one run, for example, sudo apt-get install "
                "openjdk-17-jdk-headless; or use --engine flink, which needs no JDK"
            ) from exc


def _run(folder: Path, port: int, every: float, rate: int, engine: str) -> NoReturn:
    # Imported here: these need the packages that `check_installed` looks for.
    from events.archive.catalog import map_errors
    from events.cli.demoevents import Generator
    from events.cli.demopaths import Paths
    from events.config import Settings

    database, broker = free_port(), free_port()
    own: dict[str, Any] = {
        "dynamodb_endpoint_url": f"http://localhost:{database}",
        "events_kafka_bootstrap_servers": f"127.0.0.1:{broker}",
        "events_log_format": "text",
        # No configuration of pyiceberg has a catalog of this name, which is the folder's.
        "events_iceberg_catalog": str(folder / "events_demo"),
    }
    settings = Settings.model_construct(**own)  # nothing of this process's environment
    commit_seconds = max(2.0, min(15.0, every / 4))
    with Children(folder, environment(folder, engine, settings)) as children:
        say("Starting. The first start downloads about 400 MB from Maven Central …")
        local = "-m events local --port"
        servers = (
            children.start("database", f"{local} {database} --data dynamodb", is_server=True),
            children.start(
                "broker", f"{local} {broker} --data kafka --kafka --tiered", is_server=True
            ),
        )
        children.wait(lambda: all("Ctrl-C stops it" in server.text() for server in servers))
        api = children.start("api", f"-m events serve --port {port}")
        children.start("consume", f"-m events consume --port {free_port()}")
        children.start("archive", f"-m events archive --commit-seconds {commit_seconds:g}")
        children.start("billing", "-m examples.billing run")
        children.start("stream", _STREAMS[engine].format(milliseconds=commit_seconds * 1_000))
        children.wait(lambda: "is ready at" in api.text())
        url = f"http://localhost:{port}"
        with Generator(settings, rate) as generator:
            paths = Paths(settings, url, folder, engine == "flink", generator, children.wait)
            say(_welcome(settings, url, folder, rate, every))
            learning = None
            while True:
                next_at = time.monotonic() + every
                try:
                    with map_errors("the archive"):
                        comparison = paths.compare(max(every, 30))
                    write_result(comparison.text)
                    if comparison.has_archive:
                        learning = _learn(children, learning, url)
                except (OSError, HTTPException, StoreUnavailable) as exc:
                    children.wait(lambda: False, 5)  # a child that died is the better reason
                    say(f"not compared: {exc}")
                children.wait(lambda: time.monotonic() >= next_at)  # noqa: B023 - called at once


def _learn(children: Children, last: Child | None, url: str) -> Child:
    """Update the features, then search them for anomalies, one after the other."""
    children.check()
    if last is not None and last.process.poll() is None:
        return last
    if last is not None and last.name == "features":
        command = f"-m examples.forecast anomalies --page {url}"
        return children.start("anomalies", command, is_service=False)
    if last is not None:
        found = [line for line in last.text().splitlines() if "forecast.anomalies" in line]
        write_result(f"  {' '.join(found)}; links to the page in {last.log}")
    return children.start("features", "-m examples.forecast update", is_service=False)


def environment(folder: Path, engine: str, settings: Settings) -> Mapping[str, str]:
    """The environment of the children: each setting, so that none comes from elsewhere."""
    own = settings.environment()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in own and not name.startswith("PYICEBERG_")
    }
    return {
        **({"JAVA_TOOL_OPTIONS": _JAVA} if engine == "flink" else {}),
        **kept,
        **own,
        "BILLING_DATABASE_URL": f"sqlite:///{folder / 'billing.sqlite'}",
        "PYTHONPATH": str(CHECKOUT),
    }


def _welcome(settings: Settings, url: str, folder: Path, rate: int, every: float) -> str:
    return f"""
The demo sends {rate} messages a second, and compares all counts every {every:g} s. Ctrl-C ends it.

  page       {url}/
  topic      {settings.events_kafka_topic} at {settings.events_kafka_bootstrap_servers}
  database   {settings.dynamodb_endpoint_url}
  warehouse  {Path(settings.iceberg_folder) / "warehouse"}
  bill       {folder / "billing.sqlite"}
  logs       {folder / "logs"}
"""
