"""What the word error rate does not show: a fold a system, a row a language, a column a measure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from maya_eval.report.markup import head_color, head_label, language, note, section, tag, text
from maya_eval.scores import ScoreRow
from maya_eval.summary import percent


class Column(NamedTuple):
    """One figure of a row."""

    label: str
    tip: str
    figure: str
    """An attribute of the row, or `measure.figure`."""
    scale: float = 100.0


COLUMNS = (
    Column("Sentences", "utterances with any error, per cent", "ser"),
    Column("CER clusters", "error rate over grapheme clusters, per cent", "gcer"),
    Column("WER, spaces free", "where words are parted is forgiven, per cent", "spacing.wer"),
    Column(
        "WER, Latin words", "on words of the reference in Latin letters, per cent", "codeswitch.latin_wer"
    ),
    Column("Right script", "letters written in the script of the language, per cent", "script.fidelity"),
    Column("Suspect", "repeated, far too long or too fast to be speech, per cent", "hallucination.flagged"),
    Column(
        "Made up in silence",
        "words a minute written for recordings without speech",
        "hallucination.non_speech_words_a_minute",
        1.0,
    ),
)
SAID = {"en": {"codeswitch.latin_wer"}}
"""Figures that say nothing of a language: all its words are in Latin letters."""


def beside_wer(rows: Mapping[str, Sequence[ScoreRow]], anchor: str = "beside") -> str:
    """Returns the folds; columns without any figure are left out."""
    found = {head: lines for head, lines in rows.items() if lines}
    columns = [
        column
        for column in COLUMNS
        if any(_figure(row, column) is not None for lines in found.values() for row in lines)
    ]
    folds = "".join(_fold(head, i, lines, columns) for i, (head, lines) in enumerate(found.items()))
    if not folds:
        return ""
    explanation = "Beside strict WER, never instead of it. " + "; ".join(
        f"{column.label}: {column.tip}" for column in columns
    )
    return section(anchor, "Beside the word error rate", note(f"{explanation}."), folds)


def _figure(row: ScoreRow, column: Column) -> float | None:
    measure, _, name = column.figure.rpartition(".")
    if column.figure in SAID.get(row.group, ()):
        return None
    return row.measures.get(measure, {}).get(name) if measure else getattr(row, name)


def _fold(head: str, position: int, rows: Sequence[ScoreRow], columns: Sequence[Column]) -> str:
    names = "".join(tag("th", text(column.label), scope="col", title=column.tip) for column in columns)
    top = tag("tr", tag("th", "Language", scope="col", class_="name") + names)
    lines = "".join(
        tag(
            "tr",
            tag("th", language(row.group), scope="row", class_="name")
            + "".join(_cell(_figure(row, column), column) for column in columns),
        )
        for row in rows
    )
    table = tag("table", tag("thead", top) + tag("tbody", lines), class_="sortable beside")
    name = tag("span", text(head_label(head)), class_="head", style=f"--c:{head_color(position)}")
    quiet = tag("span", f"{len(rows)} {'language' if len(rows) == 1 else 'languages'}", class_="quiet")
    return tag("details", tag("summary", name + quiet) + tag("div", table, class_="scroll"))


def _cell(figure: float | None, column: Column) -> str:
    shown = percent(None if figure is None else figure * column.scale / 100)
    return tag("td", text(shown), class_="count", data_v=figure)
