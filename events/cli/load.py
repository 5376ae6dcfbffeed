"""`python ingest_events_from_file.py FILE`, and what `produce` shares with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from events.cli import (
    EXIT_DIFFERENT,
    EXIT_INTERRUPTED,
    EXIT_NOT_RUN,
    EXIT_OK,
    Json,
    command,
    make_app,
    run_app,
    say,
)
from events.errors import EventsError, InvalidInput, StoreUnavailable
from events.models import Outcome

if TYPE_CHECKING:
    from events.config import Settings
    from events.ingest.interrupts import Interrupts
    from events.ingest.load import LoadResult, Sink

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="CSV with the columns customer_id,event_type,transaction_id,timestamp. A header may "
        "name them in any order. UTF-8, plain or gzip; - reads standard input.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check every row and write nothing.")]
Rejects = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Where to write rejected rows (default: FILE.rejects.csv)."),
]
AssumeTimezone = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE",
        help="IANA time zone of timestamps without an offset, such as Europe/Berlin. Without "
        "this option they are rejected.",
    ),
]
LenientTimestamps = Annotated[
    bool,
    typer.Option(
        "--lenient-timestamps",
        help='Also accept timestamps in free form, such as "March 1 2021 10:00 UTC" (slow).',
    ),
]
Patience = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=540,
        metavar="SECONDS",
        help="How long to retry when the destination fails, before the run ends (default: 60).",
    ),
]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a load, whatever its destination."""

    file: str
    is_dry_run: bool
    is_json: bool
    rejects: Path | None
    assume_timezone: str | None
    is_lenient: bool

    @property
    def name(self) -> str:
        return "standard input" if self.file == "-" else self.file

    @property
    def rejects_path(self) -> Path:
        name = "stdin" if self.file == "-" else self.file
        return self.rejects or Path(f"{name}.rejects.csv")


class Destination(Protocol):
    """Where the events of a file go."""

    #: The past participle for messages: events are "stored".
    done: str
    #: The word in the summary for each outcome.
    labels: Mapping[Outcome, str]

    def open(self, settings: Settings, interrupts: Interrupts) -> AbstractContextManager[Sink]:
        """Connect; fails within seconds if nothing answers. A signal may interrupt it."""

    def how_to_start(self, settings: Settings) -> str:
        """How to start a local one if nothing answers; may be empty."""


# --- the ingest command ---------------------------------------------------------------------------


class _Store:
    done = "stored"
    labels: Mapping[Outcome, str] = {
        Outcome.INSERTED: "inserted",
        Outcome.DUPLICATE: "duplicates",
        Outcome.VOIDED: "voided",
    }

    def __init__(self, *, workers: int | None, patience_seconds: float | None) -> None:
        self._workers = workers
        self._patience_seconds = patience_seconds

    @contextmanager
    def open(self, settings: Settings, interrupts: Interrupts) -> Iterator[Sink]:
        from events.bootstrap import SECONDS_TO_FIND_THE_STORE, make_service
        from events.config import INGEST_PATIENCE_SECONDS

        patience_seconds = self._patience_seconds
        if patience_seconds is None:
            patience_seconds = INGEST_PATIENCE_SECONDS
        if self._workers:
            settings = settings.model_copy(update={"events_write_threads": self._workers})
        with closing(make_service(settings, patience_seconds=patience_seconds)) as service:
            with interrupts.waiting():
                service.create_tables(patience_seconds=SECONDS_TO_FIND_THE_STORE)
            yield service

    def how_to_start(self, settings: Settings) -> str:
        from urllib.parse import urlsplit

        if not settings.is_local:
            return ""
        port = urlsplit(settings.dynamodb_endpoint_url).port
        option = f" --port {port}" if port not in (None, 9000) else ""
        return f". To start one on this machine: python -m events local{option}"


app = make_app()


@app.command()
@command()
def ingest(
    file: File,
    dry_run: DryRun = False,
    json: Json = False,
    rejects: Rejects = None,
    assume_timezone: AssumeTimezone = None,
    lenient_timestamps: LenientTimestamps = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            metavar="N",
            help="Transactions in flight (default: EVENTS_WRITE_THREADS).",
        ),
    ] = None,
    patience: Patience = None,
) -> int:
    """
    Store and count the events of a CSV file, each exactly once.

    Running the same file again is always safe: it only finds duplicates.

    Exit code: 0 all rows are stored and counted; 1 the same, but some rows were rejected; 2 the
    run could not start or not finish; 130 interrupted. After 2 and 130 run it again.
    """
    options = Options(file, dry_run, json, rejects, assume_timezone, lenient_timestamps)
    return load_file(options, _Store(workers=workers, patience_seconds=patience))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ingest command; returns its exit code."""
    return run_app(app, arguments, "python ingest_events_from_file.py")


# --- one load -------------------------------------------------------------------------------------


def load_file(options: Options, destination: Destination) -> int:
    """Load a file, print the summary; returns the exit code."""
    from events.bootstrap import load_settings
    from events.cli.summary import print_json, print_summary
    from events.ingest.interrupts import Interrupted
    from events.ingest.load import LoadResult

    result, code, problem = LoadResult(), EXIT_OK, ""
    counted_below = f"Everything counted below is {destination.done}"
    try:
        _load(options, destination, load_settings(), result)
    except Interrupted:
        code = EXIT_INTERRUPTED
        problem = f"stopped before the end. {counted_below}; run again to continue"
    except InvalidInput as exc:
        code, problem = EXIT_NOT_RUN, str(exc)
    except EventsError as exc:
        code, problem = EXIT_NOT_RUN, str(exc)
        if result.read:
            problem += f". {counted_below}; run again to continue, which is safe"
        elif isinstance(exc, StoreUnavailable):
            problem += destination.how_to_start(load_settings())
    if code == EXIT_OK and result.rejected:
        code = EXIT_DIFFERENT
    if problem:
        say(f"error: {problem}")
    try:
        if options.is_json:
            is_complete = code in (EXIT_OK, EXIT_DIFFERENT)
            print_json(options, destination, result, is_complete=is_complete)
        elif result.read or not problem:
            print_summary(options, destination, result)
    except InvalidInput as exc:
        say(f"error: {exc}. Run again to see the summary, which is safe")
        return EXIT_NOT_RUN
    return code


def _load(
    options: Options, destination: Destination, settings: Settings, result: LoadResult
) -> None:
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
            sink = stack.enter_context(destination.open(settings, interrupts))
        rejects = stack.enter_context(RejectsFile(options.rejects_path, options.file, say))
        show = stack.enter_context(progress(source, options, destination))
        load(
            read_records(source, assume_zone=zone, is_lenient=options.is_lenient),
            sink,
            result,
            interrupts=interrupts,
            on_rejection=rejects.add,
            on_progress=show,
        )
