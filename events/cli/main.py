"""`python -m events COMMAND`: the command line."""

from __future__ import annotations

from collections.abc import Sequence

from typer._completion_classes import completion_init

from events.cli import (
    archive,
    buckets,
    completion,
    consume,
    copy,
    deadletters,
    demo,
    erase,
    export,
    keys,
    load,
    local,
    make_app,
    produce,
    replay,
    run,
    run_app,
    schema,
    serve,
    settings,
    shadow,
    shards,
    verify,
    void,
)

app = make_app("Exact counts of usage events per customer and UTC hour.")
for command in (
    run.run,
    demo.demo,
    local.local,
    serve.serve,
    load.ingest,
    consume.consume,
    replay.replay,
    produce.produce,
    buckets.buckets,
    export.export,
    verify.verify,
    shadow.shadow,
    void.void,
    erase.erase,
    copy.copy,
    archive.archive,
    settings.settings,
    completion.completion,
):
    app.command()(command)
app.add_typer(deadletters.app, name="dead-letter")
app.add_typer(keys.app, name="keys")
app.add_typer(schema.app, name="schema")
app.add_typer(shards.app, name="shards")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    return run_app(app, arguments, "python -m events")


def console() -> int:
    """The console command `events`, which shells complete."""
    completion_init()
    return run_app(app, None, "events")
