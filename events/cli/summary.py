"""What a load shows: progress while it runs, a summary at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import dumps
from typing import TYPE_CHECKING

from events.cli import counted
from events.cli.load import Load, title
from events.cli.output import write_result
from events.models import Outcome

if TYPE_CHECKING:
    from events.ingest.load import LoadResult
    from events.ingest.source import LineInput


@contextmanager
def progress(options: Load, source: LineInput) -> Iterator[Callable[[LoadResult], None]]:
    """A progress bar on a terminal, with rate and remaining time; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich import progress as rich
    from rich.console import Console

    summary = rich.TextColumn("{task.fields[summary]}")
    columns = rich.BarColumn(bar_width=20), rich.TaskProgressColumn(), rich.TimeRemainingColumn()
    with rich.Progress(*columns, summary, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=source.size_bytes, summary="")

        def show(result: LoadResult) -> None:
            counts = [f"{count:,} {label}" for label, count in _counts(options, result)]
            text = ", ".join([f"{result.read:,} rows at {_rate(result):,}/s", *counts])
            bar.update(task, completed=source.bytes_read, summary=text)

        yield show


def print_json(options: Load, result: LoadResult, *, is_complete: bool) -> None:
    labels = options.destination.labels
    answer = {
        "file": options.file,
        "is_dry_run": options.is_dry_run,
        "is_complete": is_complete,
        "read": result.read,
        **{label: result.outcomes[outcome] for outcome, label in labels.items()},
        "rejected": result.rejected,
        "seconds": round(result.seconds, 3),
        "rows_per_second": _rate(result),
        "rejects_file": str(options.rejects_path) if result.rejected else None,
    }
    write_result(dumps(answer))


def print_summary(options: Load, result: LoadResult) -> None:
    done = options.destination.done
    dry = f", nothing {done} (dry run)" if options.is_dry_run else ""
    lines = [
        f"{title(options.file)}: {counted(result.read, 'row')} read in {result.seconds:.1f} s "
        f"({_rate(result):,} rows/s){dry}"
    ]
    lines += [f"  {label:<11}{count:>13,}" for label, count in _counts(options, result)]
    if result.unknown and not options.is_dry_run:
        lines.append(f"  {'unknown':<11}{result.unknown:>13,}  read, and perhaps not {done}")
    if result.rejected:
        lines.append(f"  rejected rows with line number and reason: {options.rejects_path}")
    write_result("\n".join(lines))


def _counts(options: Load, result: LoadResult) -> list[tuple[str, int]]:
    """What is shown of a result; events that were voided earlier are rare."""
    counts = [("valid", result.read - result.rejected)]
    if not options.is_dry_run:
        counts = [
            (label, result.outcomes[outcome])
            for outcome, label in options.destination.labels.items()
            if outcome is not Outcome.VOIDED or result.outcomes[outcome]
        ]
    return [*counts, ("rejected", result.rejected)]


def _rate(result: LoadResult) -> int:
    return round(result.read / result.seconds) if result.seconds else 0
