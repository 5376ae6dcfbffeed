"""`python ingest_events_from_file.py FILE…`, and what `produce` shares with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from events import cli
from events.cli import EXIT_DIFFERENT, EXIT_NOT_RUN, EXIT_OK, command, options, say
from events.cli.inputs import Destination, FileResult, Load, expand, opened
from events.errors import EventsError, InvalidInput, StoreUnavailable
from events.models import Outcome

if TYPE_CHECKING:
    from events.config import Settings
    from events.ingest.interrupts import Interrupts
    from events.ingest.load import Sink


# --- the ingest command ---------------------------------------------------------------------------

_LABELS = {
    Outcome.INSERTED: "inserted",
    Outcome.DUPLICATE: "duplicates",
    Outcome.VOIDED: "voided",
}

app = cli.make_app()


@app.command()
@command()
def ingest(
    files: options.Files, dry_run: options.DryRun = False, json: options.Json = False,
    rejects: options.Rejects = None, columns: options.Columns = None,
    delimiter: options.Delimiter = None, timestamp_format: options.TimestampFormat = "iso",
    assume_timezone: options.AssumeTimezone = None, ambiguous_hour: options.AmbiguousHour = None,
    workers: options.Workers = None, patience: options.Patience = 60.0,
) -> int:  # fmt: skip
    """
    Store and count the events of files, each exactly once.

    Running the same files again is always safe: it only finds duplicates.

    Exit code: 0 all rows are stored and counted; 1 the same, but some rows were rejected; 2 the
    run could not start or could not finish; 130 interrupted. After 2 and 130 run it again.
    """
    from events.ingest.reading import make_reading

    open_store = partial(_open_store, workers=workers, patience_seconds=patience)
    destination = Destination("stored", _LABELS, open_store, _how_to_start)
    reading = make_reading(
        columns=columns,
        delimiter=delimiter,
        timestamp_format=timestamp_format,
        assume_timezone=assume_timezone,
        ambiguous_hour=ambiguous_hour,
    )
    return load_files(Load(files, dry_run, json, rejects, reading, destination))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ingest command; returns its exit code."""
    return cli.run_app(app, arguments, "python ingest_events_from_file.py")


@contextmanager
def _open_store(
    settings: Settings, interrupts: Interrupts, *, workers: int | None, patience_seconds: float
) -> Iterator[Sink]:
    from events.bootstrap import SECONDS_TO_FIND_THE_STORE, make_service

    if workers:
        settings = settings.model_copy(update={"events_write_threads": workers})
    with closing(make_service(settings, patience_seconds=patience_seconds)) as service:
        with interrupts.waiting():
            service.create_tables(patience_seconds=SECONDS_TO_FIND_THE_STORE)
        yield service


def _how_to_start(settings: Settings) -> str:
    from urllib.parse import urlsplit

    if settings.events_database_url or not settings.is_local:
        return ""
    port = urlsplit(settings.dynamodb_endpoint_url).port
    option = f" --port {port}" if port not in (None, 9000) else ""
    return f". To start one on this machine: python -m events local{option}"


# --- loads ----------------------------------------------------------------------------------------


def load_files(plan: Load) -> int:
    """Load files, print a summary of each and of all; returns the exit code."""
    from events.bootstrap import load_settings
    from events.cli.summary import print_json, print_summary
    from events.ingest.interrupts import Interrupted

    results: list[FileResult] = []
    problem = ""
    counted_below = f"Everything counted below is {plan.destination.done}"
    code = EXIT_OK
    try:
        plan = replace(plan, files=expand(plan.files))
        _load_all(plan, load_settings(), results)
        if any(result.counts.rejected for result in results):
            code = EXIT_DIFFERENT
        if any(result.problem for result in results):
            code = EXIT_NOT_RUN
    except Interrupted:
        code = cli.EXIT_INTERRUPTED
        problem = f"stopped before the end. {counted_below}; run again to continue"
    except EventsError as exc:
        code, problem = EXIT_NOT_RUN, str(exc)
        if any(result.counts.read for result in results):
            problem += f". {counted_below}; run again to continue, which is safe"
        elif isinstance(exc, StoreUnavailable):
            problem += plan.destination.hint(load_settings())
    if problem:
        say(f"error: {problem}")
        for result in results[-1:]:
            result.problem = result.problem or problem
    try:
        if plan.is_json:
            print_json(plan, results)
        else:
            print_summary(plan, results)
    except InvalidInput as exc:
        say(f"error: {exc}. Run again to see the summary, which is safe")
        return EXIT_NOT_RUN
    return code


def _load_all(plan: Load, settings: Settings, results: list[FileResult]) -> None:
    from events.ingest.interrupts import Interrupts
    from events.ingest.load import LoadResult

    if plan.rejects and len(plan.files) > 1:
        raise InvalidInput("--rejects names the rejected rows of one file: leave it out")
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        sink = None
        if not plan.is_dry_run:
            sink = stack.enter_context(plan.destination.open(settings, interrupts))
        for file in plan.files:
            result = FileResult(file, LoadResult())
            results.append(result)
            try:
                _load(plan, result, sink, interrupts)
            except InvalidInput as exc:  # the other files can still be read
                result.problem = str(exc)
                say(f"error: {exc}")


def _load(plan: Load, result: FileResult, sink: Sink | None, interrupts: Interrupts) -> None:
    from events.cli.summary import progress
    from events.ingest.load import load
    from events.ingest.records import read_records
    from events.ingest.rejects import RejectsFile

    with ExitStack() as stack:
        with interrupts.waiting():
            source, reading = stack.enter_context(opened(result.file, plan.reading))
        path = plan.rejects_path(result.file)
        rejects = stack.enter_context(
            RejectsFile(path, result.file, say, is_named=len(plan.files) > 1)
        )
        show = stack.enter_context(progress(plan, source))
        try:
            load(
                read_records(source, reading), sink, result.counts,
                interrupts=interrupts, on_rejection=rejects.add, on_progress=show,
            )  # fmt: skip
        finally:
            result.ignored = source.ignored
