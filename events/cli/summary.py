"""What a load shows: progress while it runs, a summary at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import dumps
from typing import TYPE_CHECKING, Any

from events.cli import counted
from events.cli.output import write_result
from events.models import Outcome

if TYPE_CHECKING:
    from events.cli.load import Destination, Options
    from events.ingest.load import LoadResult
    from events.ingest.source import LineInput


@contextmanager
def progress(
    source: LineInput, options: Options, destination: Destination
) -> Iterator[Callable[[LoadResult], None]]:
    """A progress bar on a terminal, with rate and remaining time; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[summary]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=source.size_bytes, summary="")

        def show(result: LoadResult) -> None:
            counts = [
                f"{count:,} {label}" for label, count in _counts(options, destination, result)
            ]
            summary = ", ".join([f"{result.read:,} rows at {_rate(result):,}/s", *counts])
            bar.update(task, completed=source.bytes_read, summary=summary)

        yield show


def print_json(
    options: Options, destination: Destination, result: LoadResult, *, is_complete: bool
) -> None:
    answer: dict[str, Any] = {
        "file": options.file,
        "is_dry_run": options.is_dry_run,
        "is_complete": is_complete,
        "read": result.read,
        **{label: result.outcomes[outcome] for outcome, label in destination.labels.items()},
        "rejected": result.rejected,
        "seconds": round(result.seconds, 3),
        "rows_per_second": _rate(result),
        "rejects_file": str(options.rejects_path) if result.rejected else None,
    }
    write_result(dumps(answer))


def print_summary(options: Options, destination: Destination, result: LoadResult) -> None:
    dry = f", nothing {destination.done} (dry run)" if options.is_dry_run else ""
    lines = [
        f"{options.name}: {counted(result.read, 'row')} read in {result.seconds:.1f} s "
        f"({_rate(result):,} rows/s){dry}"
    ]
    lines += [
        f"  {label:<11}{count:>13,}" for label, count in _counts(options, destination, result)
    ]
    if result.unknown and not options.is_dry_run:
        lines.append(
            f"  {'unknown':<11}{result.unknown:>13,}  read, and perhaps not {destination.done}"
        )
    if result.rejected:
        lines.append(f"  rejected rows with line number and reason: {options.rejects_path}")
    write_result("\n".join(lines))


def _counts(
    options: Options, destination: Destination, result: LoadResult
) -> list[tuple[str, int]]:
    """What is shown of a result; events that were voided earlier are rare."""
    if options.is_dry_run:
        counts = [("valid", result.read - result.rejected)]
    else:
        counts = [
            (label, result.outcomes[outcome])
            for outcome, label in destination.labels.items()
            if outcome is not Outcome.VOIDED or result.outcomes[outcome]
        ]
    return [*counts, ("rejected", result.rejected)]


def _rate(result: LoadResult) -> int:
    return round(result.read / result.seconds) if result.seconds else 0
