"""`python -m events COMMAND`: the command line."""

from __future__ import annotations

from collections.abc import Sequence

from events.cli import (
    archive,
    buckets,
    consume,
    deadletters,
    erase,
    export,
    keys,
    local,
    make_app,
    produce,
    run,
    run_app,
    serve,
    settings,
    verify,
    void,
)

app = make_app()


@app.callback()
def _description() -> None:
    """Exact counts of usage events per customer and UTC hour."""


app.command()(run.run)
app.command()(local.local)
app.command()(serve.serve)
app.command()(consume.consume)
app.command()(produce.produce)
app.add_typer(deadletters.app, name="dead-letter")
app.command()(buckets.buckets)
app.command()(export.export)
app.command()(verify.verify)
app.command()(void.void)
app.command()(erase.erase)
app.add_typer(keys.app, name="keys")
app.command()(archive.archive)
app.command()(settings.settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    return run_app(app, arguments, "python -m events")
