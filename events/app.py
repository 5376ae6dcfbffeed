"""The HTTP service: `uvicorn events.app:app --port 8800`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

from fastapi import Depends, FastAPI

from events import __version__, bootstrap
from events.api import middleware, problems
from events.api.adapters import metronome, openmeter
from events.api.bodies import Bodies
from events.api.dependencies import check_request
from events.api.openapi import DescribedAPI
from events.api.routes import buckets, changes, customers, ingest, ops
from events.api.routes import events as stored
from events.api.security import RateLimits
from events.auth.keyring import KeyRing
from events.config import Settings
from events.errors import InvalidInput
from events.page import routes as page
from events.service import EventService
from events.telemetry import logs
from events.telemetry.health import Readiness

_DESCRIPTION = (
    "How many events each customer sent in each one-hour UTC bucket. Counts are exact: duplicate, "
    "late and out-of-order events included."
)


def create_app(
    settings: Settings,
    *,
    make_service: Callable[[Settings], EventService] = bootstrap.make_service,
    make_key_ring: Callable[[Settings], KeyRing | None] = bootstrap.make_key_ring,
) -> FastAPI:
    """
    Create the application. It connects to the store on the first request, not when it starts.

    Args:
        make_service: Called when the application starts; the service is closed when it stops.
        make_key_ring: Likewise for API keys; returns None if they are off.

    Raises:
        InvalidInput: A setting needs a package that is not installed, or contradicts another.
    """
    bootstrap.check_sink(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            service = make_service(settings)
            stack.callback(service.close)
            key_ring = make_key_ring(settings)
            if key_ring is not None:
                stack.callback(key_ring.close)
            sink = stack.enter_context(bootstrap.open_sink(settings, service))

            def check() -> None:
                service.check()
                if sink is not service:
                    sink.check()

            app.state.service = service
            app.state.key_ring = key_ring
            app.state.sink = sink
            app.state.readiness = Readiness(check)
            yield

    app = DescribedAPI(
        title="Usage events",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(check_request)],
        generate_unique_id_function=lambda route: route.name,
        # FastAPI's documentation pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        # A redirect would go to the decoded path: from the customer `a%2Fb` to the customer `a/b`.
        redirect_slashes=False,
    )
    app.models = (*ingest.BODIES, *buckets.ANSWERS)
    app.state.settings = settings
    app.state.bodies = Bodies(settings.events_max_body_bytes)
    app.state.rate_limits = RateLimits(
        per_address=settings.events_rate_per_address, per_key=settings.events_rate_per_key
    )
    app.state.is_stopping = False
    for module in (buckets, customers, ops):
        app.include_router(module.router)
    if settings.events_counts == "exact":
        # These routes write, or need the events themselves.
        for module in (ingest, stored, changes, metronome, openmeter):
            app.include_router(module.router)
        page.install(app)
    problems.install(app)
    middleware.install(app, settings)
    return app


def __getattr__(name: str) -> FastAPI:
    """Create `app` on first use, so that importing this module needs no valid settings."""
    if name != "app":
        raise AttributeError(name)
    try:
        settings = bootstrap.load_settings()
        logs.configure(settings.events_log_format, settings.events_log_level)
        app = globals()["app"] = create_app(settings)
    except InvalidInput as exc:
        sys.exit(f"error: {exc}")
    return app
