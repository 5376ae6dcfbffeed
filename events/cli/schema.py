"""`python -m events schema`: the tables of a SQL database."""

from __future__ import annotations

from contextlib import closing

from events.cli import EXIT_OK, command, make_app, say
from events.cli.output import write_result
from events.errors import InvalidInput

app = make_app("""
    Print or create the tables of EVENTS_DATABASE_URL.

    On first use the service creates missing tables, and migrates those of an older version. Use
    these commands if it connects as a role that may not.

    Exit code: 0 done; 2 not done.
    """)


@app.command("print")
@command()
def print_schema() -> int:
    """Print the SQL statements that create the tables."""
    from events.bootstrap import load_settings, sql_schema

    write_result(";\n\n".join(sql_schema(load_settings())) + ";")
    return EXIT_OK


@app.command()
@command()
def create() -> int:
    """Create the tables that are missing, or migrate those of an older version."""
    from events.bootstrap import SECONDS_TO_FIND_THE_STORE, load_settings, make_service

    settings = load_settings()
    if not settings.events_database_url:
        raise InvalidInput("EVENTS_DATABASE_URL is empty: the service creates tables in DynamoDB")
    with closing(make_service(settings, patience_seconds=SECONDS_TO_FIND_THE_STORE)) as service:
        service.create_tables()
    say("all tables exist and have this version")
    return EXIT_OK
