"""Plain English: turns of phrase that readers have to read twice appear nowhere."""

import re
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PATTERNS = ["*.py", "*.md", "*.js", "*.html", "*.yaml", "*.in", ".ci/run", "Makefile"]
UNCLEAR = re.compile(
    r"(?<!there )\b(?:is|are) (?:no(?! longer)|(?-i:none)|told|said)\b|\bnone that\b|\bsays so\b"
    r"|\bwhoever\b|\bof ours\b|\bheld against\b|\banew\b|\btaken for\b|\breckon|\bgoes on\b"
    r"|\b(?:come|comes|came) again\b|\bthat of (?:it|its|the)\b|\bfor ever\b",
    re.IGNORECASE,
)


def test_texts_avoid_unclear_phrases() -> None:
    listing = subprocess.check_output(["git", "ls-files", *PATTERNS], cwd=CHECKOUT, text=True)
    phrases = [
        (name, match[0])
        for name in listing.split()
        # Quotes and comment signs may stand between two words of a sentence.
        for text in [re.sub(r"[#\"'\s]+", " ", (CHECKOUT / name).read_text(encoding="utf-8"))]
        for match in UNCLEAR.finditer(text)
    ]
    assert phrases == []
