"""Samples to hear on the page, each head aligned under the reference."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from maya_eval.edits import align_words
from maya_eval.report.browser import legend
from maya_eval.report.markup import head_color, head_label, language, note, section, tag, text
from maya_eval.scores import Scored
from maya_eval.summary import percent

ByHead = Mapping[str, Scored]
"""What each head wrote for one utterance."""


def group_utterances(scored: Mapping[str, Sequence[Scored]]) -> dict[str, dict[str, Scored]]:
    """Returns the outputs of all heads by utterance id."""
    utterances: dict[str, dict[str, Scored]] = defaultdict(dict)
    for head, items in scored.items():
        for item in items:
            utterances[item.hypothesis.utt_id][head] = item
    return dict(utterances)


def samples(
    wavs: Mapping[str, Path], ids: Mapping[str, str], utterances: Mapping[str, ByHead], heads: Sequence[str]
) -> str:
    """Returns an audio player a language, with what was said and written where the id is known."""
    cards = []
    for lang, path in sorted(wavs.items()):
        source = "data:audio/wav;base64," + base64.b64encode(path.read_bytes()).decode()
        player = tag("audio", "", controls="controls", preload="metadata", src=source)
        outputs = utterances.get(ids.get(lang, ""))
        inner = tag("h3", language(lang)) + player + (aligned(outputs, heads) if outputs else "")
        cards.append(tag("article", inner, class_="sample"))
    if not cards:
        return ""
    explanation = "One utterance of the test split a language; the texts are shown as they were scored."
    return section(
        "listen", "Listen", tag("div", "".join(cards), class_="samples"), legend(), note(explanation)
    )


def aligned(outputs: ByHead, heads: Sequence[str]) -> str:
    """Returns the reference with the words of each head in columns under it."""
    first = next(iter(outputs.values()))
    lang = first.hypothesis.lang
    ref = first.ref.split() or [""]
    shown = [(i, head, outputs[head]) for i, head in enumerate(heads) if head in outputs]
    labels = tag("span", "said") + "".join(
        tag("span", text(head_label(head)), class_="head", style=f"--c:{head_color(i)}")
        for i, head, _ in shown
    )
    rows = [_cells(item) for _, _, item in shown]
    columns = "".join(
        tag("span", tag("b", text(word)) + "".join(row[i] for row in rows), class_="col")
        for i, word in enumerate(ref)
    )
    body = tag("div", labels, class_="labels") + tag("div", columns, class_="cols", lang=lang, dir="auto")
    return tag("div", body, class_="aligned") + _facts(first, shown)


def _cells(item: Scored) -> list[str]:
    """Returns one cell a reference word; made-up words stand with the word before them."""
    cells: list[str] = []
    leading = ""
    for op, ref, hyp in align_words(item.ref, item.hyp):
        if op == "insert":
            added = "".join(tag("ins", text(word)) + " " for word in hyp)
            if cells:
                cells[-1] += " " + added
            else:
                leading = added
        elif op == "delete":
            cells += [tag("del", "&middot;")] * len(ref)
        else:
            cells += [tag("mark", text(word)) if op == "replace" else text(word) for word in hyp]
    cells = cells or [""]
    cells[0] = leading + cells[0]
    return [tag("span", cell) for cell in cells]


def _facts(first: Scored, shown: Sequence[tuple[int, str, Scored]]) -> str:
    facts = [f"{head_label(head)} {percent(item.words.rate, 0)} %" for _, head, item in shown]
    if first.hypothesis.speaker:
        facts.append(f"voice {first.hypothesis.speaker}")
    if first.hypothesis.duration:
        facts.append(f"{first.hypothesis.duration:.1f} s")
    return tag("p", text(" \u00b7 ".join([*facts, first.hypothesis.utt_id])), class_="facts")
