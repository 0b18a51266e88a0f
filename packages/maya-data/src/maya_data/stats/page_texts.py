"""The sections of the page that are about transcripts: characters, repeats, texts of other indexes."""

import html
import unicodedata

from maya_data.audit import CharsetRow
from maya_data.audit.charset import PROBLEMS
from maya_data.stats import tables
from maya_data.stats.markup import details, section, table
from maya_data.stats.report import Stats

WARNINGS = ("empty", "wrong_script", "mixed_script", "control", "not_nfc")
"""What is seldom meant; Latin letters, digits and joiners often are."""


def characters(stats: Stats) -> str:
    """Return the audit of characters, each cell as dark as its part of the texts."""
    head = "".join(
        f"<th{' class=text' if not number else ''}>{html.escape(name)}</th>"
        for number, name in enumerate(tables.CHARSET_COLUMNS)
    )
    rows = "".join(_charset_row(row) for row in stats.charset)
    drawn = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    note = (
        "Number of transcripts that have it. Wrong script: most letters are not of the language's script. "
        "Mixed script: letters of two scripts or more."
    )
    more = "".join((_scripts(stats), _rare(stats), _examples(stats)))
    return section("Characters of the transcripts", f'{drawn}<p class="note">{note}</p>{more}')


def _charset_row(row: CharsetRow) -> str:
    cells = []
    for name in PROBLEMS:
        count = getattr(row, name)
        share = count / max(row.texts, 1)
        weight = min(0.6, 0.08 + 0.6 * share**0.5) if count and name in WARNINGS else 0
        style = f' style="background: rgb(var(--heat) / {weight:.2f})"' if weight else ""
        cells.append(f'<td{style} title="{share:.2%} of the texts">{count:,}</td>')
    first = f"<td class=text>{html.escape(row.lang)}</td><td>{row.texts:,}</td><td>{row.distinct:,}</td>"
    return f"<tr>{first}{''.join(cells)}</tr>"


def _scripts(stats: Stats) -> str:
    rows = [
        (row.lang, ", ".join(f"{script} {share:.2%}" for script, share in _largest(row.scripts)))
        for row in stats.charset
    ]
    return details("Scripts of the letters", table(("language", "part of all letters"), rows, left=2))


def _largest(scripts: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(scripts.items(), key=lambda pair: -pair[1])


def _rare(stats: Stats) -> str:
    rows = [
        (row.lang, ", ".join(f"{_shown(char)} {count:,}x" for char, count in row.rare.items()))
        for row in stats.charset
    ]
    return details("Rarest characters", table(("language", "characters"), rows, left=2))


def _shown(char: str) -> str:
    """Return a character with its code point, on a circle where it must lean on something."""
    category = unicodedata.category(char)
    visible = "" if category[0] in "CZ" else f"\u25cc{char} " if category[0] == "M" else f"{char} "
    return f"{visible}U+{ord(char):04X}"


def _examples(stats: Stats) -> str:
    rows = [
        (row.lang, name.replace("_", " "), ", ".join(ids))
        for row in stats.charset
        for name, ids in row.examples.items()
        if name in WARNINGS
    ]
    return (
        details("Segments to look at", table(("language", "what", "first segments"), rows, left=3))
        if rows
        else ""
    )


def repeats(stats: Stats) -> str:
    """Return what the index holds more than once."""
    found = stats.repeats
    most = [(row["lang"], row["text"], f"{row['segments']:,}") for row in found.most]
    parts = [table(("what", "number"), tables.repeat_cells(stats))]
    if most:
        parts.append(
            details("The texts that occur most often", table(("language", "text", "segments"), most, left=2))
        )
    if found.id_examples:
        parts.append(f'<p class="note bad">Ids met twice: {html.escape(", ".join(found.id_examples))}</p>')
    return section("Repeats", "".join(parts))


def overlaps(stats: Stats) -> str:
    """Return what the index shares with others."""
    if not stats.overlap:
        return ""
    parts = [table(tables.OVERLAP_COLUMNS, tables.overlap_cells(stats))]
    for found in stats.overlap:
        rows = [(example["id"], example["text"]) for example in found.examples]
        if rows:
            parts.append(
                details(f"Texts shared with {found.index}", table(("segment", "text"), rows, left=2))
            )
    note = (
        "Case, punctuation and white space do not count; texts of four words or more seldom meet by chance."
    )
    return section("Texts of other indexes", f'{"".join(parts)}<p class="note">{note}</p>')
