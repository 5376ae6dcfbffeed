"""Commands, and the tables they write."""

from collections.abc import Iterator

import pytest

from tests.support.fixtures import shell, tables
from tests.support.shell import Shell

__all__ = ["shell", "tables"]


@pytest.fixture
def lone_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell for commands that need no database."""
    alone = Shell(tmp_path_factory.mktemp("serve") / "here", {})
    yield alone
    alone.end()
