"""Puts a part of a README in the place of a line, so that a fact has one home.

`::table packages/maya-train/README.md#Faults 2` is the second table under that heading (without a number, the
first); `::section FILE#Heading` is all that stands under it.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARKER = re.compile(
    r"^::(?P<what>table|section) (?P<file>[\w./-]+)#(?P<heading>.+?)(?: (?P<number>\d+))?$", re.MULTILINE
)
HEADING = re.compile(r"^#{2,} (.*)\n", re.MULTILINE)
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)


def under(file: str, heading: str) -> str:
    """Return the text under a heading, to the next one; LookupError where there is no such heading."""
    text = (ROOT / file).read_text(encoding="utf-8")
    _, *parts = HEADING.split(text)
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    if heading not in found:
        raise LookupError(f"{file} has no heading {heading!r}; it has: {', '.join(found)}")
    return found[heading].strip() + "\n"


def part(match: re.Match[str]) -> str:
    """Return what a line asks for."""
    text = under(match["file"], match["heading"])
    if match["what"] == "section":
        return text
    tables = TABLE.findall(text)
    number = int(match["number"] or 1)
    if len(tables) < number:
        raise LookupError(
            f"{match['file']} has {len(tables)} tables under {match['heading']!r}, not {number}"
        )
    return tables[number - 1]


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by MkDocs for every page."""
    return MARKER.sub(part, markdown)
