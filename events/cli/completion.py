"""`events completion SHELL`: complete commands and options with the Tab key."""

from __future__ import annotations

from typing import Annotated, Literal

from typer import Argument
from typer._completion_shared import get_completion_script

from events.cli import EXIT_OK, command
from events.cli.output import write_result

Shell = Annotated[Literal["bash", "zsh", "fish"], Argument(help="Your shell.")]


@command()
def completion(shell: Shell) -> int:
    """
    Print a script that completes the console command `events`.

    For bash: source <(events completion bash)

    Exit code: 0 always.
    """
    script = get_completion_script(prog_name="events", complete_var="_EVENTS_COMPLETE", shell=shell)
    write_result(script)
    return EXIT_OK
