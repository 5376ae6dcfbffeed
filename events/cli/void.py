"""`python -m events void`: take the events of a file out of the counts."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import islice
from json import dumps
from typing import Annotated

from typer import Option

from events.cli import EXIT_DIFFERENT, EXIT_OK, command, counted, say
from events.cli.load import rejects_path, title
from events.cli.options import File, Json
from events.cli.output import write_result
from events.errors import EventsError, InvalidEvent, InvalidInput
from events.models import Outcome

_ROWS_AT_A_TIME = 1_000
_OUTCOMES = (Outcome.VOIDED, Outcome.ALREADY_VOIDED, Outcome.NOT_FOUND)
Reason = Annotated[str, Option(metavar="TEXT", help="Stored with each event.")]


@command()
def void(file: File, reason: Reason, json: Json = False) -> int:
    """
    Take the events of a CSV file out of the counts.

    Each event and its counters change in one transaction. A voided event stays stored with the
    reason, so that a late retry cannot bring it back. Running the command again is safe.

    Exit code: 0 none of the events is counted any more; 1 the same, but some rows were rejected
    or are not stored; 2 the run could not start or could not finish.
    """
    from events.cli.service import open_service
    from events.domain.parsing import check_void_reason
    from events.ingest.csvrows import Rejection, read_records
    from events.ingest.rejects import RejectsFile
    from events.ingest.source import open_lines

    try:
        reason = check_void_reason(reason)
    except InvalidEvent as exc:
        raise InvalidInput(f"--reason {exc.reason}") from exc
    outcomes: Counter[Outcome] = Counter()
    with ExitStack() as stack:
        source = stack.enter_context(open_lines(file))
        service = stack.enter_context(open_service())
        rejects = stack.enter_context(RejectsFile(rejects_path(file), file, say))
        records = read_records(source)
        try:
            while chunk := list(islice(records, _ROWS_AT_A_TIME)):
                for record in chunk:
                    if isinstance(record, Rejection):
                        rejects.add(record)
                events = [record[1] for record in chunk if not isinstance(record, Rejection)]
                outcomes.update(service.void(events, reason=reason))
        except EventsError as exc:
            done = counted(outcomes[Outcome.VOIDED], "event")
            raise InvalidInput(
                f"{exc}. {done} voided before this error; run again to continue"
            ) from exc
    numbers = {outcome.value: outcomes[outcome] for outcome in _OUTCOMES}
    numbers["rejected"] = rejects.count
    path = str(rejects.path) if rejects.count else None
    if json:
        write_result(dumps({"file": file, **numbers, "rejects_file": path}))
    else:
        lines = [f"{title(file)}: {counted(sum(numbers.values()), 'row')} read"]
        lines += [f"  {name.replace('_', ' '):<15}{count:>13,}" for name, count in numbers.items()]
        if path:
            lines.append(f"  rejected rows with line number and reason: {path}")
        write_result("\n".join(lines))
    return EXIT_DIFFERENT if rejects.count or outcomes[Outcome.NOT_FOUND] else EXIT_OK
