"""
Break one rule of the code at a time and name the test that notices: `make mutants`.

Each mutant replaces one piece of source text in a copy of the checkout and runs the tests that
should fail. A mutant that every test accepts is a hole in the tests: the run then ends with exit
code 1. Give names as arguments to run only those mutants.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.mutant import Mutant
from tests.support.mutants import MUTANTS

CHECKOUT = Path(__file__).parents[1]
TIMEOUT_SECONDS = 600
#: Some mutants never end: the test is then interrupted, which counts as noticed.
TEST_TIMEOUT_SECONDS = 120
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)


def check(mutant: Mutant) -> None:
    """Raise `ValueError` if the source no longer has the text that this mutant replaces."""
    found = (CHECKOUT / mutant.file).read_text(encoding="utf-8").count(mutant.before)
    if found != 1:
        raise ValueError(f"{mutant.rule}: {mutant.file} has its text {found} times, not once")


def run(mutant: Mutant, folder: Path) -> str | None:
    """
    Run a mutant's tests in a copy of the checkout.

    Returns:
        The id of the first test that failed; None if the mutant survived.

    Raises:
        RuntimeError: pytest could not run the tests at all.
    """
    file = folder / mutant.file
    original = file.read_text(encoding="utf-8")
    file.write_text(original.replace(mutant.before, mutant.after), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command.append(f"--timeout={TEST_TIMEOUT_SECONDS}")
    try:
        ran = subprocess.run(
            [*command, *mutant.tests.split()],
            cwd=folder,
            env={**os.environ, "EVENTS_TEST_PROFILE": "mutants"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    finally:
        file.write_text(original, encoding="utf-8")
    if ran.returncode == 0:
        return None
    failed = _FAILED.search(ran.stdout)
    if ran.returncode != 1 or failed is None:
        raise RuntimeError(f"{mutant.rule}: pytest did not run:\n{ran.stdout}{ran.stderr}")
    return failed[1]


def copy_checkout(folder: Path) -> None:
    """Copy what git tracks; the fetched jars are linked."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listing.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / name, target)
    if (CHECKOUT / ".local").exists():
        (folder / ".local").symlink_to((CHECKOUT / ".local").resolve())


def main(names: list[str]) -> int:
    """Run all mutants, or those whose rule contains one of `names`; returns the exit code."""
    chosen = [
        mutant for mutant in MUTANTS if not names or any(name in mutant.rule for name in names)
    ]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="events-mutants-") as temporary:
        folder = Path(temporary)
        copy_checkout(folder)
        for mutant in chosen:
            check(mutant)
            killer = run(mutant, folder)
            survivors += killer is None
            print(f"{mutant.rule}\n    {killer or 'SURVIVED: no test noticed'}", flush=True)
    print(f"\n{len(chosen) - survivors} of {len(chosen)} mutants found")
    return int(survivors > 0 or not chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
