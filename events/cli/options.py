"""The arguments and options that several commands share, and those that need a long help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

Json = Annotated[bool, Option("--json", help="Print the result as JSON.")]
Host = Annotated[str, Option(help="Address to listen on. Others reach it only with API keys on.")]
Port = Annotated[int, Option(min=1, max=65_535, help="Port to listen on.")]
OtherPort = Annotated[int | None, Option("--port", min=1, max=65_535, help="Port to listen on.")]
UntilEnd = Annotated[bool, Option("--until-end", help="Stop at the current end of the topic.")]

# --- questions about counts -----------------------------------------------------------------------

Customer = Annotated[str, Argument(metavar="CUSTOMER", help="The customer's id.")]
Customers = Annotated[
    list[str], Argument(metavar="CUSTOMER...", help="The id of a customer, or of several.")
]
OneCustomer = Annotated[str | None, Option("--customer", metavar="ID", help="Only this customer.")]
Start = Annotated[str | None, Option(metavar="TIME", help="From this time on.")]
End = Annotated[str | None, Option(metavar="TIME", help="Before this time.")]
WindowSize = Annotated[
    Literal["hour", "day", "week", "month"],
    Option(help="Count by hour, day, week or month of --timezone."),
]
TimeZone = Annotated[str | None, Option(metavar="ZONE", help="IANA time zone (default: UTC).")]
Types = Annotated[
    list[str] | None, Option("--type", metavar="TYPE", help="Only this event type; repeatable.")
]
GroupBy = Annotated[Literal["event_type"] | None, Option(help="Also count each event type.")]
Fill = Annotated[Literal["zero"] | None, Option(help="Include hours (days, …) without events.")]

# --- files of events ------------------------------------------------------------------------------

Files = Annotated[
    list[str],
    Argument(
        metavar="FILE",
        help="CSV (or TSV), JSON Lines or Parquet, plain or compressed (gzip, zstd, bzip2, xz), "
        "found from the content. Patterns such as 'logs/*.csv' too; - reads standard input.",
    ),
]
Columns = Annotated[
    str | None,
    Option(
        metavar="FIELD=COLUMN,...",
        help="Columns with other names, such as customer_id=user_id,timestamp=created_at.",
    ),
]
Delimiter = Annotated[
    str | None,
    Option(metavar="CHAR", help="Delimiter of a CSV file (default: found in its first line)."),
]
TimestampFormat = Annotated[
    str,
    Option(
        metavar="FORMAT",
        help="iso, epoch-s, epoch-ms, epoch-us, epoch-ns, a strptime pattern such as "
        "'%d.%m.%Y %H:%M', or auto: found from all timestamps of the file.",
    ),
]
AmbiguousHour = Annotated[
    Literal["first", "second"] | None,
    Option(
        help="Which instant a local time means that occurs twice because clocks are set back. "
        "Without this option such times are rejected.",
    ),
]
DryRun = Annotated[bool, Option("--dry-run", help="Check every row and write nothing.")]
Rejects = Annotated[
    Path | None, Option(metavar="PATH", help="File of rejected rows (default: FILE.rejects.csv).")
]
AssumeTimezone = Annotated[
    str | None,
    Option(
        metavar="ZONE",
        help="IANA time zone of timestamps without an offset, such as Europe/Berlin. Without "
        "this option they are rejected.",
    ),
]
Patience = Annotated[
    float,
    Option(min=0, max=540, metavar="SECONDS", help="How long to retry when the destination fails."),
]
Workers = Annotated[
    int | None,
    Option(min=1, max=64, metavar="N", help="Transactions in flight [EVENTS_WRITE_THREADS]."),
]
