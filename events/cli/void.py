"""`python -m events void`: take the events of files out of the counts."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from json import dumps
from typing import TYPE_CHECKING, Annotated

from typer import Option

from events.cli import EXIT_DIFFERENT, EXIT_OK, command, counted, options, say
from events.cli.inputs import expand, opened, rejects_path, title
from events.cli.output import write_result
from events.errors import EventsError, InvalidEvent, InvalidInput
from events.models import Outcome

if TYPE_CHECKING:
    from events.ingest.reading import Reading
    from events.service import EventService

_ROWS_AT_A_TIME = 1_000
_OUTCOMES = (Outcome.VOIDED, Outcome.ALREADY_VOIDED, Outcome.NOT_FOUND)
_REJECTED = "rejected"
Reason = Annotated[str, Option(metavar="TEXT", help="Stored with each event.")]


@command()
def void(
    files: options.Files, reason: Reason, json: options.Json = False,
    columns: options.Columns = None, delimiter: options.Delimiter = None,
    timestamp_format: options.TimestampFormat = "iso",
    assume_timezone: options.AssumeTimezone = None, ambiguous_hour: options.AmbiguousHour = None,
) -> int:  # fmt: skip
    """
    Take the events of files out of the counts.

    Read the files with the same options as when they were ingested. Each event and its counters
    change in one transaction. A voided event stays stored with the reason, so that a late retry
    cannot bring it back. Running the command again is safe.

    Exit code: 0 none of the events is counted any more; 1 the same, but some rows were rejected
    or are not stored; 2 the run could not start or could not finish.
    """
    from events.cli.service import open_service
    from events.domain.parsing import check_void_reason
    from events.ingest.reading import make_reading

    try:
        reason = check_void_reason(reason)
    except InvalidEvent as exc:
        raise InvalidInput(f"--reason {exc.reason}") from exc
    reading = make_reading(
        columns=columns,
        delimiter=delimiter,
        timestamp_format=timestamp_format,
        assume_timezone=assume_timezone,
        ambiguous_hour=ambiguous_hour,
    )
    reading = replace(reading, is_stored=True)
    paths = expand(files)
    numbers: dict[str, Counter[str]] = {}
    with open_service() as service:
        for file in paths:
            numbers[file] = Counter()
            try:
                _void(file, reading, service, reason, numbers[file], is_named=len(paths) > 1)
            except EventsError as exc:
                done = counted(sum(n[Outcome.VOIDED.value] for n in numbers.values()), "event")
                raise InvalidInput(
                    f"{exc}. {done} voided before this error; run again to continue"
                ) from exc
    answers = [_answer(file, counts) for file, counts in numbers.items()]
    total = sum(numbers.values(), Counter())
    if json:
        all_answers = {"files": answers, "total": _numbers(total)}
        write_result(dumps(answers[0] if len(answers) == 1 else all_answers))
    else:
        lines = [line for file in numbers for line in _summary(file, numbers[file])]
        if len(numbers) > 1:
            lines += _summary(None, total)
        write_result("\n".join(lines))
    return EXIT_DIFFERENT if total[_REJECTED] or total[Outcome.NOT_FOUND.value] else EXIT_OK


def _void(
    file: str,
    reading: Reading,
    service: EventService,
    reason: str,
    numbers: Counter[str],
    *,
    is_named: bool,
) -> None:
    from events.ingest.reading import Rejection
    from events.ingest.records import read_records
    from events.ingest.rejects import RejectsFile

    with ExitStack() as stack:
        source, reading = stack.enter_context(opened(file, reading))
        rejects = stack.enter_context(RejectsFile(rejects_path(file), file, say, is_named=is_named))
        records = read_records(source, reading)
        while chunk := list(islice(records, _ROWS_AT_A_TIME)):
            for record in chunk:
                if isinstance(record, Rejection):
                    rejects.add(record)
            events = [record[1] for record in chunk if not isinstance(record, Rejection)]
            outcomes = service.void(events, reason=reason)
            numbers.update(outcome.value for outcome in outcomes)
            numbers[_REJECTED] = rejects.count


def _numbers(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in (*(outcome.value for outcome in _OUTCOMES), _REJECTED)}


def _answer(file: str, counts: Counter[str]) -> dict[str, object]:
    path = str(rejects_path(file)) if counts[_REJECTED] else None
    return {"file": file, **_numbers(counts), "rejects_file": path}


def _summary(file: str | None, counts: Counter[str]) -> list[str]:
    name = "total" if file is None else title(file)
    lines = [f"{name}: {counted(counts.total(), 'row')} read"]
    lines += [f"  {key.replace('_', ' '):<15}{n:>13,}" for key, n in _numbers(counts).items()]
    if file is not None and counts[_REJECTED]:
        lines.append(f"  rejected rows with line number and reason: {rejects_path(file)}")
    return lines
