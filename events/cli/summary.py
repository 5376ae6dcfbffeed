"""What a load shows: progress while it runs, a summary at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from json import dumps
from typing import TYPE_CHECKING

from events.cli import counted, printable
from events.cli.inputs import FileResult, Load, title
from events.cli.output import write_result
from events.models import Outcome

if TYPE_CHECKING:
    from events.ingest.load import LoadResult
    from events.ingest.source import LineInput


@contextmanager
def progress(plan: Load, source: LineInput) -> Iterator[Callable[[LoadResult], None]]:
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
            counts = [f"{count:,} {label}" for label, count in _counts(plan, result)]
            text = ", ".join([f"{result.read:,} rows at {_rate(result):,}/s", *counts])
            bar.update(task, completed=source.bytes_read, summary=text)

        yield show


def print_json(plan: Load, results: Sequence[FileResult]) -> None:
    """One object for one file; for several, an object with `files` and their `total`."""
    labels = plan.destination.labels

    def numbers(counts: LoadResult) -> dict[str, object]:
        return {
            "read": counts.read,
            **{label: counts.outcomes[outcome] for outcome, label in labels.items()},
            "rejected": counts.rejected,
            "seconds": round(counts.seconds, 3),
            "rows_per_second": _rate(counts),
        }

    if not results:  # the run ended before its first file
        from events.ingest.load import LoadResult

        results = [FileResult(file, LoadResult(), [], "not read") for file in plan.files]
    answers = [
        {
            "file": result.file,
            "is_dry_run": plan.is_dry_run,
            "is_complete": not result.problem,
            **numbers(result.counts),
            "rejects_file": str(plan.rejects_path(result.file)) if result.counts.rejected else None,
            "ignored_columns": result.ignored,
        }
        for result in results
    ]
    total = {"files": answers, "total": numbers(_total(results))}
    write_result(dumps(answers[0] if len(plan.files) == 1 else total))


def print_summary(plan: Load, results: Sequence[FileResult]) -> None:
    """The counts of each file that was read or read without a problem, and their total."""
    blocks = []
    for result in results:
        if not result.counts.read and result.problem:
            continue
        lines = _summary(plan, title(result.file), result.counts)
        if result.ignored:
            lines.append(f"  ignored columns: {', '.join(map(printable, result.ignored))}")
        if result.counts.rejected:
            path = plan.rejects_path(result.file)
            lines.append(f"  rejected rows with line number and reason: {path}")
        blocks += lines
    if len(results) > 1:
        blocks += _summary(plan, f"total of {len(results):,} files", _total(results))
    if blocks:
        write_result("\n".join(blocks))


def _summary(plan: Load, name: str, counts: LoadResult) -> list[str]:
    done = plan.destination.done
    dry = f", nothing {done} (dry run)" if plan.is_dry_run else ""
    lines = [
        f"{name}: {counted(counts.read, 'row')} read in {counts.seconds:.1f} s "
        f"({_rate(counts):,} rows/s){dry}"
    ]
    lines += [f"  {label:<11}{count:>13,}" for label, count in _counts(plan, counts)]
    if counts.unknown and not plan.is_dry_run:
        lines.append(f"  {'unknown':<11}{counts.unknown:>13,}  read, and perhaps not {done}")
    return lines


def _total(results: Sequence[FileResult]) -> LoadResult:
    from events.ingest.load import LoadResult

    total = LoadResult()
    for result in results:
        total.read += result.counts.read
        total.rejected += result.counts.rejected
        total.outcomes += result.counts.outcomes
        total.seconds += result.counts.seconds
    return total


def _counts(plan: Load, result: LoadResult) -> list[tuple[str, int]]:
    """What is shown of a result; events that were voided earlier are rare."""
    counts = [("valid", result.read - result.rejected)]
    if not plan.is_dry_run:
        counts = [
            (label, result.outcomes[outcome])
            for outcome, label in plan.destination.labels.items()
            if outcome is not Outcome.VOIDED or result.outcomes[outcome]
        ]
    return [*counts, ("rejected", result.rejected)]


def _rate(result: LoadResult) -> int:
    return round(result.read / result.seconds) if result.seconds else 0
