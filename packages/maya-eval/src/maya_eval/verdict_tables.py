"""Terminal tables of what was compared, decided and measured beside the rates."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from maya_eval.compare import Comparison
from maya_eval.gate import HEADS, Verdict
from maya_eval.measures.langid import Identification
from maya_eval.measures.measure import Measure
from maya_eval.rows import ScoreRow
from maya_eval.summary import percent
from maya_eval.tables import shown

SHARES = ("wer", "fidelity", "repeated", "stretched", "hurried", "flagged", "non_speech_filled")
"""Figures that are fractions, and shown in percent."""


def comparison_table(rows: Sequence[Comparison], first: str, second: str) -> Table:
    """Returns a language a row: both rates, their difference with its interval, and p values after Holm."""
    table = Table(
        title=f"profile {rows[0].profile}, version {rows[0].version}; difference is {second} minus {first}",
        caption="p: bootstrap and matched pairs (- too few segments), after Holm's correction",
        box=SIMPLE_HEAD,
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("language", no_wrap=True)
    for name in (f"{first}\nWER %", f"{second}\nWER %", "difference", "95 %", "p boot", "p pairs"):
        table.add_column(name, justify="right")
    table.add_column("better")
    for row in rows:
        rates = [percent(row.first_wer), percent(row.second_wer)]
        if row.refused:
            table.add_row(shown(row.lang), *rates, "", "", "", "", Text(row.refused, style="dim"))
            continue
        better = {"first": first, "second": second, None: "not settled"}[row.better]
        interval = f"{_signed(row.low)} to {_signed(row.high)}"
        p_values = [_p(row.p_bootstrap_holm), _p(row.p_matched_holm)]
        table.add_row(shown(row.lang), *rates, _signed(row.difference), interval, *p_values, better)
    return table


def verdict_table(verdict: Verdict) -> Table:
    """Returns a language a row: the rate of each head, what is shipped, and why."""
    heads = [head for head in HEADS if head in verdict.decisions[0].wer]
    table = Table(
        title=f"profile {verdict.profile}, version {verdict.version}",
        box=SIMPLE_HEAD,
        pad_edge=False,
        title_justify="left",
    )
    table.add_column("language", no_wrap=True)
    for head in heads:
        table.add_column(f"{head.upper()}\nWER %", justify="right", no_wrap=True)
    table.add_column("ships", no_wrap=True)
    table.add_column("why")
    for row in verdict.decisions:
        why = Text(row.why)
        if row.failures:
            why.append(f"\nfails: {'; '.join(row.failures)}", style="bold red")
        rates = [percent(row.wer[head]) for head in heads]
        table.add_row(
            shown(row.lang), *rates, Text(row.ship, style="bold" if row.passed else "bold red"), why
        )
    return table


def measure_table(rows: Sequence[ScoreRow], measure: Measure, by: str) -> Table:
    """Returns the figures of one measure, a group and profile a row."""
    names = measure.shown or tuple(rows[0].measures[measure.name])
    profiles = {row.profile for row in rows}
    title = measure.name if len(profiles) > 1 else f"{measure.name}, profile {rows[0].profile}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("language" if by == "lang" else by, no_wrap=True)
    if len(profiles) > 1:
        table.add_column("profile", no_wrap=True)
    table.add_column("strict\nWER %", justify="right")
    for name in names:
        heading = name.replace("_", " ") + (" %" if _is_share(name) else "")
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        figures = [_figure(name, row.measures[measure.name][name]) for name in names]
        profile = [row.profile] if len(profiles) > 1 else []
        table.add_row(shown(row.group), *profile, percent(row.wer), *figures)
    return table


def confusion_table(found: Identification) -> Table:
    """Returns how often each language was taken for which."""
    confusion = found.confusion
    columns = sorted({name for row in confusion.values() for name in row})
    accuracy = percent(found.accuracy)
    table = Table(
        title=f"recognised language: {accuracy} % right of {found.utterances}",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("language", no_wrap=True)
    for name in columns:
        table.add_column(shown(name), justify="right", no_wrap=True)
    for lang, row in confusion.items():
        table.add_row(shown(lang), *(str(row.get(name, "")) for name in columns))
    return table


def _signed(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:+.1f}"


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _is_share(name: str) -> bool:
    return name in SHARES or name.endswith(("_wer", "_fidelity"))


def _figure(name: str, value: float | int | None) -> str:
    if value is None or _is_share(name):
        return percent(value)
    return str(value) if isinstance(value, int) else f"{value:.1f}"
