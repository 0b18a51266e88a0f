"""The tables of the page: language x head, and voice x head."""

from collections.abc import Mapping, Sequence

from maya_eval.report.markup import head_color, language, note, rate_cell, section, tag, text
from maya_eval.scores import Scored, ScoreRow, rows_by
from maya_eval.summary import Cell, Summary, percent, rates

MOST_VOICES = 40


def headline(summary: Summary) -> str:
    """Returns one card a head: the mean rates over languages, large."""
    cards = []
    for position, head in enumerate(summary.heads):
        mean = summary.mean(head)
        if mean is None:
            continue
        factor = summary.rtf.get(head)
        facts = [f"CER {percent(mean.cer)} %"]
        facts += [f"real-time factor {factor:.3f}"] if factor is not None else []
        inner = tag("div", text(head.upper()), class_="head", style=f"--c:{head_color(position)}")
        inner += tag("div", text(percent(mean.wer)) + tag("small", "% WER"), class_="figure")
        cards.append(
            tag("div", inner + tag("div", text(" \u00b7 ".join(facts)), class_="quiet"), class_="card")
        )
    return tag("div", "".join(cards), class_="cards")


def by_language(summary: Summary) -> str:
    """Returns the main table: a row a language, then the mean and the control."""
    lines = [
        _line(language(lang), [summary.cell(head, lang) for head in summary.heads]) for lang in summary.langs
    ]
    name = f"Mean of {len(summary.langs)}"
    foot = _line(text(name), [summary.mean(head) for head in summary.heads], class_="mean")
    controls = [summary.mean(head, "control") for head in summary.heads]
    if any(controls):
        foot += _line("Control", controls, heated=False, class_="control")
    table = tag("table", _heads(summary) + tag("tbody", "".join(lines)) + tag("tfoot", foot), class_="scores")
    explanation = (
        "Word and character error rate in per cent; green is 0, red is 40 (WER) and 12 (CER) or more."
    )
    if any(controls):
        explanation += " Control: the same outputs scored against other sentences of their language."
    return section("scores", "Scores by language", tag("div", table, class_="scroll"), note(explanation))


def _heads(summary: Summary) -> str:
    top = "".join(
        tag(
            "th", text(head.upper()), colspan=2, class_="head", style=f"--c:{head_color(i)}", scope="colgroup"
        )
        for i, head in enumerate(summary.heads)
    )
    kinds = (tag("th", "WER", scope="col") + tag("th", "CER", scope="col")) * len(summary.heads)
    first = tag("th", "Language", rowspan=2, scope="col", class_="name")
    last = tag("th", "Utterances", rowspan=2, scope="col")
    return tag("thead", tag("tr", first + top + last) + tag("tr", kinds))


def _line(name: str, cells: Sequence[Cell | None], *, heated: bool = True, class_: str = "") -> str:
    shown = "".join(
        rate_cell(wer, "wer", heated=heated) + rate_cell(cer, "cer", heated=heated)
        for wer, cer in map(rates, cells)
    )
    count = max((cell.utterances for cell in cells if cell), default=0)
    inner = tag("th", name, scope="row", class_="name") + shown + tag("td", str(count), class_="count")
    return tag("tr", inner, class_=class_)


def by_voice(scored: Mapping[str, Sequence[Scored]], profile: str) -> str:
    """Returns a row a voice with the WER of each head, the worst first; empty where no voice is known."""
    rows: dict[str, dict[str, ScoreRow]] = {}
    for head, items in scored.items():
        for row in rows_by([item for item in items if item.hypothesis.speaker], profile, "speaker"):
            rows.setdefault(row.group, {})[head] = row
    if len(rows) < 2:
        return ""
    worst_first = sorted(rows, key=lambda voice: -_mean_rate(rows[voice]))
    lines = [_voice_line(voice, rows[voice], list(scored)) for voice in worst_first[:MOST_VOICES]]
    heads = "".join(
        tag("th", text(head.upper()) + " WER", class_="head", style=f"--c:{head_color(i)}", scope="col")
        for i, head in enumerate(scored)
    )
    top = tag("th", "Voice", class_="name", scope="col") + heads + tag("th", "Utterances", scope="col")
    table = tag("table", tag("thead", tag("tr", top)) + tag("tbody", "".join(lines)))
    shown = (
        f"{len(rows)} voices"
        if len(rows) <= MOST_VOICES
        else f"The worst {MOST_VOICES} of {len(rows)} voices"
    )
    explanation = (
        f"{shown}, the worst first. A voice far above the others shows where training voices are missing."
    )
    return section("voices", "Scores by voice", tag("div", table, class_="scroll"), note(explanation))


def _mean_rate(rows: Mapping[str, ScoreRow]) -> float:
    return sum(row.wer or 0.0 for row in rows.values()) / len(rows)


def _voice_line(voice: str, rows: Mapping[str, ScoreRow], heads: Sequence[str]) -> str:
    cells = "".join(rate_cell(rows[head].wer if head in rows else None) for head in heads)
    count = max(row.utterances for row in rows.values())
    return tag(
        "tr",
        tag("th", text(voice), scope="row", class_="name") + cells + tag("td", str(count), class_="count"),
    )
