"""`python ingest_events_from_file.py FILE`, and what `produce` and `void` share with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from events import cli
from events.cli import EXIT_DIFFERENT, EXIT_NOT_RUN, EXIT_OK, command, say
from events.cli.options import (
    AssumeTimezone,
    DryRun,
    File,
    Json,
    LenientTimestamps,
    Patience,
    Rejects,
    Workers,
)
from events.errors import EventsError, InvalidInput, StoreUnavailable
from events.models import Outcome

if TYPE_CHECKING:
    from events.config import Settings
    from events.ingest.interrupts import Interrupts
    from events.ingest.load import LoadResult, Sink


class Destination(NamedTuple):
    """Where the events of a file go."""

    #: The past participle for messages: events are "stored".
    done: str
    #: The word in the summary for each outcome.
    labels: Mapping[Outcome, str]
    #: Connects; fails within seconds if nothing answers. A signal may interrupt it.
    open: Callable[[Settings, Interrupts], AbstractContextManager[Sink]]
    #: How to start a local one if nothing answers; may be empty.
    hint: Callable[[Settings], str]


@dataclass(frozen=True, slots=True)
class Load:
    """A file of events, how to read it, and where its events go."""

    file: str
    is_dry_run: bool
    is_json: bool
    rejects: Path | None
    assume_timezone: str | None
    is_lenient: bool
    destination: Destination

    @property
    def rejects_path(self) -> Path:
        return self.rejects or rejects_path(self.file)


def title(file: str) -> str:
    return "standard input" if file == "-" else file


def rejects_path(file: str) -> Path:
    return Path(f"{'stdin' if file == '-' else file}.rejects.csv")


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
    file: File, dry_run: DryRun = False, json: Json = False, rejects: Rejects = None,
    assume_timezone: AssumeTimezone = None, lenient_timestamps: LenientTimestamps = False,
    workers: Workers = None, patience: Patience = 60.0,
) -> int:  # fmt: skip
    """
    Store and count the events of a CSV file, each exactly once.

    Running the same file again is always safe: it only finds duplicates.

    Exit code: 0 all rows are stored and counted; 1 the same, but some rows were rejected; 2 the
    run could not start or could not finish; 130 interrupted. After 2 and 130 run it again.
    """
    open_store = partial(_open_store, workers=workers, patience_seconds=patience)
    destination = Destination("stored", _LABELS, open_store, _how_to_start)
    return load_file(
        Load(file, dry_run, json, rejects, assume_timezone, lenient_timestamps, destination)
    )


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

    if not settings.is_local:
        return ""
    port = urlsplit(settings.dynamodb_endpoint_url).port
    option = f" --port {port}" if port not in (None, 9000) else ""
    return f". To start one on this machine: python -m events local{option}"


# --- one load -------------------------------------------------------------------------------------


def load_file(options: Load) -> int:
    """Load a file, print the summary; returns the exit code."""
    from events.bootstrap import load_settings
    from events.cli.summary import print_json, print_summary
    from events.ingest.interrupts import Interrupted
    from events.ingest.load import LoadResult

    result, problem = LoadResult(), ""
    counted_below = f"Everything counted below is {options.destination.done}"
    try:
        _load(options, load_settings(), result)
        code = EXIT_DIFFERENT if result.rejected else EXIT_OK
    except Interrupted:
        code = cli.EXIT_INTERRUPTED
        problem = f"stopped before the end. {counted_below}; run again to continue"
    except EventsError as exc:
        code, problem = EXIT_NOT_RUN, str(exc)
        if result.read and not isinstance(exc, InvalidInput):
            problem += f". {counted_below}; run again to continue, which is safe"
        elif isinstance(exc, StoreUnavailable):
            problem += options.destination.hint(load_settings())
    if problem:
        say(f"error: {problem}")
    try:
        if options.is_json:
            print_json(options, result, is_complete=not problem)
        elif result.read or not problem:
            print_summary(options, result)
    except InvalidInput as exc:
        say(f"error: {exc}. Run again to see the summary, which is safe")
        return EXIT_NOT_RUN
    return code


def _load(options: Load, settings: Settings, result: LoadResult) -> None:
    from events.cli.summary import progress
    from events.domain.timestamps import zone_named
    from events.ingest.csvrows import read_records
    from events.ingest.interrupts import Interrupts
    from events.ingest.load import load
    from events.ingest.rejects import RejectsFile
    from events.ingest.source import open_lines

    zone = zone_named(options.assume_timezone) if options.assume_timezone else None
    with ExitStack() as stack:
        source = stack.enter_context(open_lines(options.file))
        interrupts = stack.enter_context(Interrupts())
        sink = None
        if not options.is_dry_run:
            sink = stack.enter_context(options.destination.open(settings, interrupts))
        rejects = stack.enter_context(RejectsFile(options.rejects_path, options.file, say))
        show = stack.enter_context(progress(options, source))
        records = read_records(source, assume_zone=zone, is_lenient=options.is_lenient)
        load(
            records, sink, result,
            interrupts=interrupts, on_rejection=rejects.add, on_progress=show,
        )  # fmt: skip
