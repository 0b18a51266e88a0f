"""Scores as terminal tables (rich): the rows of `maya-eval score`, and the one table a run ends with."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maya_eval.languages import english_name
from maya_eval.scores import ScoreRow, macro_mean
from maya_eval.summary import Cell, Summary, clock, parse_summary, percent, rates

SHADES = ((0.10, "green"), (0.20, "yellow"), (0.50, "dark_orange"), (float("inf"), "red"))
ROOM = 100
KINDS = ("sub", "del", "ins")


def summary_table(summary: Mapping[str, Any], title: str | None = None) -> Table:
    """Returns language x head with WER, CER and utterances, mean, control, speed and time by stage.

    Args:
        summary: a parsed `summary.json`.
        title: heading of the table.
    """
    parsed = parse_summary(summary)
    table = _empty_summary(parsed, title)
    for lang in parsed.langs:
        _add_line(table, f"{lang} {english_name(lang)}", [parsed.cell(head, lang) for head in parsed.heads])
    table.add_section()
    _add_line(
        table, f"mean of {len(parsed.langs)}", [parsed.mean(head) for head in parsed.heads], style="bold"
    )
    controls = [parsed.mean(head, "control") for head in parsed.heads]
    if any(controls):
        _add_line(table, "control", controls, shaded=False)
    if parsed.rtf:
        table.add_section()
        speeds = [speed for head in parsed.heads for speed in (_speed(parsed, head), Text(""))]
        table.add_row("RTF", *speeds, "")
    return table


def _empty_summary(summary: Summary, title: str | None) -> Table:
    table = Table(
        title=title,
        caption=_caption(summary),
        caption_justify="left",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("language", no_wrap=True)
    for head in summary.heads:
        table.add_column(f"{head.upper()}\nWER %", justify="right", no_wrap=True)
        table.add_column("\nCER %", justify="right", no_wrap=True)
    table.add_column("utterances", justify="right", vertical="bottom")
    return table


def _add_line(
    table: Table, name: str, cells: Sequence[Cell | None], *, style: str = "", shaded: bool = True
) -> None:
    line = [text for wer, cer in map(rates, cells) for text in (_rate(wer, shaded), Text(percent(cer)))]
    utterances = max((cell.utterances for cell in cells if cell), default=0)
    table.add_row(name, *line, str(utterances), style=style)


def _rate(rate: float | None, shaded: bool) -> Text:
    if rate is None or not shaded:
        return Text(percent(rate))
    return Text(percent(rate), style=next(style for limit, style in SHADES if rate <= limit))


def _speed(summary: Summary, head: str) -> Text:
    factor = summary.rtf.get(head)
    return Text("-" if factor is None else f"{factor:.3f}")


def _caption(summary: Summary) -> Text:
    lines = []
    if any(split == "control" for split, _, _ in summary.cells):
        lines.append("control: each output scored against another sentence of its language")
    if summary.rtf:
        lines.append("RTF: real-time factor, seconds of work a second of audio")
    if summary.seconds:
        stages = " \u00b7 ".join(f"{stage} {clock(seconds)}" for stage, seconds in summary.seconds.items())
        lines.append(f"time: {stages} \u00b7 together {clock(sum(summary.seconds.values()))}")
    if summary.peak_gib is not None:
        lines.append(f"memory: {summary.peak_gib:.1f} GiB at most")
    return Text("\n".join(lines), style="dim")


def score_table(rows: Sequence[ScoreRow], by: str = "lang") -> Table:
    """Returns the rows of one or more profiles, each profile closed by its mean.

    With one profile its name is the title; with more it is a column, in the place of the kinds of errors.
    """
    profiles = list(dict.fromkeys(row.profile for row in rows))
    several = len(profiles) > 1
    version = "" if several else f", version {rows[0].version}" if rows[0].version else ""
    table = Table(
        title=None if several else f"profile {profiles[0]}{version}",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("language" if by == "lang" else by, no_wrap=True)
    if several:
        table.add_column("profile", no_wrap=True)
    for name in ("WER %", "95 %", "CER %", *([] if several else KINDS), "words", "utterances"):
        table.add_column(name, justify="right", overflow="fold")
    for profile in profiles:
        _add_profile(table, [row for row in rows if row.profile == profile], several)
    return table


def wide_console() -> Console:
    """Returns a console that gives large counts room where the output is a file and not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, ROOM))


def shown(name: str) -> Text:
    """Returns a name out of a file as it may be printed: no markup, no control characters."""
    visible = "".join("\ufffd" if _steers(character) else character for character in name)
    return Text(visible or "(none)")


def _steers(character: str) -> bool:
    """Whether a character could move the cursor or turn the direction of what follows."""
    return unicodedata.category(character) in ("Cc", "Cs") or character in "\u202a\u202b\u202c\u202d\u202e"


def _add_profile(table: Table, rows: Sequence[ScoreRow], several: bool) -> None:
    for row in rows:
        low, high = percent(row.wer_low), percent(row.wer_high)
        interval = "-" if row.wer_low is None else f"{low}-{high}"
        kinds = [] if several else [str(n) for n in (row.sub, row.del_, row.ins)]
        name: list[str | Text] = [shown(row.group), *([row.profile] if several else [])]
        counts = [*kinds, str(row.words), str(row.utterances)]
        table.add_row(*name, _rate(row.wer, True), interval, percent(row.cer), *counts)
    if len(rows) > 1:
        table.add_section()
        mean = macro_mean(rows)
        name = [f"mean of {len(mean.parts)}", *([rows[0].profile] if several else [])]
        counts = [*([] if several else [""] * 3), "", str(mean.utterances)]
        table.add_row(*name, percent(mean.wer), "", percent(mean.cer), *counts, style="bold")
    table.add_section()
