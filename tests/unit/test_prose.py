"""Plain English: turns of phrase that readers have to read twice appear nowhere."""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PATTERNS = ["*.py", "*.md", "*.js", "*.html", "*.yaml", "*.in", ".ci/run", "Makefile"]
UNCLEAR = re.compile(
    r"(?<!there )\b(?:is|are) (?:no(?! longer)|(?-i:none)|told|said)\b|\bnone that\b|\bsays so\b"
    r"|\bwhoever\b|\bof ours\b|\bheld against\b|\banew\b|\btaken for\b|\breckon|\bgoes on\b"
    r"|\b(?:come|comes|came) again\b|\bthat of (?:it|its|the)\b|\bfor ever\b",
    re.IGNORECASE,
)


def texts(file: Path) -> Iterator[str]:
    """The comments and strings of a Python file; all of any other file."""
    content = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield content
        return
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield token.string


def test_texts_avoid_unclear_phrases() -> None:
    listing = subprocess.check_output(["git", "ls-files", *PATTERNS], cwd=CHECKOUT, text=True)
    phrases = [
        (name, match[0])
        for name in listing.split()
        if CHECKOUT / name != Path(__file__)
        for text in texts(CHECKOUT / name)
        for match in UNCLEAR.finditer(" ".join(text.split()))
    ]
    assert phrases == []
