"""The tables of the page: language x head, and voice x head."""

from collections.abc import Mapping, Sequence

from maya_eval.edits import ErrorCounts
from maya_eval.languages import english_name
from maya_eval.report.markup import head_color, head_label, language, note, rate_cell, section, tag, text
from maya_eval.scores import Scored
from maya_eval.summary import Cell, Summary, percent, rates

MOST_VOICES = 40


def headline(summary: Summary) -> str:
    """Returns one card a head: the mean rate, large, with the languages it ranges over."""
    cards = []
    for position, head in enumerate(summary.heads):
        mean = summary.mean(head)
        if mean is None:
            continue
        inner = tag("div", text(head_label(head)), class_="head", style=f"--c:{head_color(position)}")
        inner += tag("div", text(percent(mean.wer)) + tag("small", "% WER"), class_="figure")
        inner += tag("div", text(_range(summary, head)), class_="quiet")
        cards.append(
            tag("div", inner + tag("div", text(_facts(summary, head)), class_="quiet"), class_="card")
        )
    return tag("div", "".join(cards), class_="cards")


def _range(summary: Summary, head: str) -> str:
    found = [(cell.wer, lang) for lang in summary.langs if (cell := summary.cell(head, lang))]
    rates = sorted((rate, lang) for rate, lang in found if rate is not None)
    if len(rates) < 2:
        return english_name(rates[0][1]) if rates else ""
    (low, best), (high, worst) = rates[0], rates[-1]
    return (
        f"mean of {len(rates)} languages, {percent(low)} ({english_name(best)}) to "
        f"{percent(high)} ({english_name(worst)})"
    )


def _facts(summary: Summary, head: str) -> str:
    mean, factor = summary.mean(head), summary.rtf.get(head)
    facts = [f"CER {percent(mean.cer if mean else None)} %"]
    return " \u00b7 ".join([*facts, *([f"real-time factor {factor:.3f}"] if factor is not None else [])])


def by_language(summary: Summary, anchor: str = "scores") -> str:
    """Returns the main table: a row a language, then the mean and the control."""
    lines = [
        _line(language(lang), [summary.cell(head, lang) for head in summary.heads]) for lang in summary.langs
    ]
    foot = ""
    if len(lines) > 1:
        name = f"Mean of {len(summary.langs)}"
        foot += _line(text(name), [summary.mean(head) for head in summary.heads], class_="mean")
    controls = [summary.mean(head, "control") for head in summary.heads]
    if any(controls):
        foot += _line("Control", controls, heated=False, class_="control")
    table = tag("table", _heads(summary) + tag("tbody", "".join(lines)) + tag("tfoot", foot), class_="scores")
    explanation = (
        "Word and character error rate in per cent; green is 0, red is 40 (WER) and 12 (CER) or more."
    )
    if any(controls):
        explanation += " Control: the same outputs scored against other sentences of their language."
    return section(anchor, "Scores by language", tag("div", table, class_="scroll"), note(explanation))


def _heads(summary: Summary) -> str:
    top = "".join(
        tag(
            "th",
            text(head_label(head)),
            colspan=2,
            class_="head",
            style=f"--c:{head_color(i)}",
            scope="colgroup",
        )
        for i, head in enumerate(summary.heads)
    )
    kinds = (tag("th", "WER", scope="col") + tag("th", "CER", scope="col")) * len(summary.heads)
    first = tag("th", "Language", rowspan=2, scope="col", class_="name")
    last = tag("th", "Utterances", rowspan=2, scope="col")
    return tag("thead", tag("tr", first + top + last) + tag("tr", kinds))


def _line(name: str, cells: Sequence[Cell | None], *, heated: bool = True, class_: str = "") -> str:
    shown = "".join(
        rate_cell(wer, "wer", heated=heated, title=_interval(cell)) + rate_cell(cer, "cer", heated=heated)
        for cell, (wer, cer) in zip(cells, map(rates, cells), strict=True)
    )
    count = max((cell.utterances for cell in cells if cell), default=0)
    inner = tag("th", name, scope="row", class_="name") + shown + tag("td", str(count), class_="count")
    return tag("tr", inner, class_=class_)


def _interval(cell: Cell | None) -> str:
    if cell is None or cell.low is None or cell.high is None:
        return ""
    return f"95 %: {percent(cell.low)} to {percent(cell.high)}"


def by_voice(scored: Mapping[str, Sequence[Scored]]) -> str:
    """Returns a row a voice with the WER of each head, the worst first; empty where no voice is known."""
    rows: dict[str, dict[str, tuple[ErrorCounts, int]]] = {}
    for head, items in scored.items():
        for item in items:
            if voice := item.hypothesis.speaker:
                errors, utterances = rows.setdefault(voice, {}).get(head, (ErrorCounts(), 0))
                rows[voice][head] = errors + item.words, utterances + 1
    if len(rows) < 2:
        return ""
    worst_first = sorted(rows, key=lambda voice: -_mean_rate(rows[voice]))
    lines = [_voice_line(voice, rows[voice], list(scored)) for voice in worst_first[:MOST_VOICES]]
    heads = "".join(
        tag("th", text(head_label(head)) + " WER", class_="head", style=f"--c:{head_color(i)}", scope="col")
        for i, head in enumerate(scored)
    )
    top = tag("th", "Voice", class_="name", scope="col") + heads + tag("th", "Utterances", scope="col")
    table = tag("table", tag("thead", tag("tr", top)) + tag("tbody", "".join(lines)), class_="sortable")
    shown = (
        f"{len(rows)} voices"
        if len(rows) <= MOST_VOICES
        else f"The worst {MOST_VOICES} of {len(rows)} voices"
    )
    explanation = (
        f"{shown}, the worst first. A voice far above the others shows where training voices are missing."
    )
    return section("voices", "Scores by voice", tag("div", table, class_="scroll"), note(explanation))


def _mean_rate(rows: Mapping[str, tuple[ErrorCounts, int]]) -> float:
    return sum(errors.rate or 0.0 for errors, _ in rows.values()) / len(rows)


def _voice_line(voice: str, rows: Mapping[str, tuple[ErrorCounts, int]], heads: Sequence[str]) -> str:
    cells = "".join(rate_cell(rows[head][0].rate if head in rows else None) for head in heads)
    count = max(utterances for _, utterances in rows.values())
    return tag(
        "tr",
        tag("th", text(voice), scope="row", class_="name") + cells + tag("td", str(count), class_="count"),
    )
