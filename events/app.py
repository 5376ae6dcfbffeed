"""The HTTP service: `uvicorn events.app:app --port 8800`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from events import bootstrap
from events.api import middleware, problems, security
from events.api.bodies import Bodies
from events.api.parameters import check_request
from events.api.routes import buckets, changes, customers, ingest, ops, summary
from events.api.routes import events as stored
from events.auth.keyring import KeyRing
from events.config import Settings
from events.errors import InvalidInput
from events.page import routes as page
from events.service import EventService
from events.telemetry import logs
from events.telemetry.health import Readiness

_DESCRIPTION = (
    "How many events each customer sent in each one-hour UTC bucket: exact, whatever came twice, "
    "late or out of order."
)


def create_app(
    settings: Settings,
    *,
    make_service: Callable[[Settings], EventService] = bootstrap.make_service,
    make_key_ring: Callable[[Settings], KeyRing | None] = bootstrap.make_key_ring,
) -> FastAPI:
    """
    Create the application. It connects to nothing before it starts, and starts without the store.

    Args:
        make_service: Makes the service when the application starts; closed when it stops.
        make_key_ring: Makes what checks API keys, likewise; None where keys are off.

    Raises:
        InvalidInput: What `settings` need is not installed, or two of them do not go together.
    """
    bootstrap.check_sink(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = make_service(settings)
        key_ring = make_key_ring(settings)
        with (
            security.guard(app, settings, key_ring),
            bootstrap.open_sink(settings, app.state.service) as sink,
        ):
            app.state.sink = sink

            def check() -> None:
                app.state.service.check()
                if sink is not app.state.service:
                    sink.check()

            app.state.readiness = Readiness(check)
            yield
        app.state.service.close()

    app = FastAPI(
        title="Usage events",
        version="0.2.0",
        description=_DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(check_request)],
        generate_unique_id_function=lambda route: route.name,
        # Its docs pages load their scripts from another host.
        docs_url=None,
        redoc_url=None,
        # A redirect would go to the decoded path: from the customer `a%2Fb` to the customer `a/b`.
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.bodies = Bodies(settings.events_max_body_bytes)
    for each in (buckets, customers, ops):
        app.include_router(each.router)
    if settings.events_counts == "exact":
        # These write, or need the events themselves.
        for each in (ingest, summary, stored, changes, page):
            app.include_router(each.router)
    problems.install(app, bodies=(*ingest.BODIES, *buckets.ANSWERS))
    middleware.install(app, settings)
    app.state.is_stopping = False
    return app


def __getattr__(name: str) -> FastAPI:
    """`app`, made when it is first asked for: importing this file needs no good settings."""
    if name != "app":
        raise AttributeError(name)
    try:
        settings = bootstrap.load_settings()
        logs.configure(settings.events_log_format, settings.events_log_level)
        made = globals()["app"] = create_app(settings)
    except InvalidInput as exc:
        sys.exit(f"error: {exc}")
    return made
