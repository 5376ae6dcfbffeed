"""A Java runtime with Flink, driven through py4j."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError

from events.config import Settings
from events.errors import EventsError
from events.local import flink
from events.local.javaserver import java_program

SOURCES = Path(__file__).parent
#: As Flink's own start scripts (flink-conf.yaml, env.java.opts.all).
_OPENED = (
    *("java.base/java.lang", "java.base/java.net", "java.base/java.io", "java.base/java.nio"),
    *("java.base/sun.nio.ch", "java.base/java.lang.reflect", "java.base/java.text"),
    *("java.base/java.time", "java.base/java.util", "java.base/java.util.concurrent"),
    *("java.base/java.util.concurrent.atomic", "java.base/java.util.concurrent.locks"),
)
_OPTIONS = [
    "-Xmx1g",
    "-Duser.timezone=UTC",
    # Flink writes its time stamps in the runtime's zone and language.
    *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
]


class FlinkFailed(EventsError):
    """Flink could not run or continue a job."""


@contextmanager
def opened_flink() -> Iterator[Any]:
    """
    Java's classes, with Flink and this project's on the class path.

    The runtime ends with this block, and if this process is killed.

    Raises:
        FlinkFailed: An error of Flink within the block.
    """
    port, token = launch_gateway(
        classpath=flink.class_path(SOURCES),
        javaopts=_OPTIONS,
        java_path=str(java_program()),
        die_on_exit=True,
        # Ctrl-C on the terminal reaches only us, and we stop the job.
        create_new_process_group=True,
        enable_auth=True,
    )
    gateway = JavaGateway(
        gateway_parameters=GatewayParameters(port=port, auth_token=token, auto_convert=True)
    )
    try:
        yield gateway.jvm
    except Py4JJavaError as exc:
        raise FlinkFailed(reason_of(exc.java_exception)) from exc
    finally:
        gateway.shutdown()


def reason_of(exception: Any) -> str:
    """The last cause of a Java exception: Flink wraps each many times."""
    while exception.getCause() is not None:
        exception = exception.getCause()
    return f"Flink: {exception.toString().splitlines()[0]}"


def catalog_properties(settings: Settings, options: Mapping[str, str]) -> dict[str, str]:
    """
    Iceberg's properties of the catalog.

    Args:
        options: Properties of another catalog than the local one of `archive`.
    """
    folder = Path(settings.iceberg_folder).absolute()
    local = {
        "impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        # Other processes commit to it too: wait for them.
        "uri": f"jdbc:sqlite:{folder / 'catalog.db'}?busy_timeout=60000",
        "jdbc.schema-version": "V1",
        "warehouse": (folder / "warehouse").as_uri(),
    }
    return {"name": settings.iceberg_catalog_name, **(options or local)}
