"""What goes wrong most often: the words that are taken for others, missed or made up, by language."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from maya_eval.edits import align_words
from maya_eval.report.markup import head_color, head_label, language, note, section, tag, text
from maya_eval.scores import Scored

Key = TypeVar("Key", str, tuple[str, str])

MOST = 10
LEAST_TIMES = 2
"""A pair that was seen once only is no pattern."""


@dataclass
class WordErrors:
    """Counts of one system in one language."""

    substituted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(said, written)"""
    missed: Counter[str] = field(default_factory=Counter)
    made_up: Counter[str] = field(default_factory=Counter)

    def add(self, item: Scored) -> None:
        """Counts the errors of one utterance."""
        for op, ref, hyp in align_words(item.ref, item.hyp):
            if op == "replace":
                self.substituted.update(zip(ref, hyp, strict=True))
            elif op == "delete":
                self.missed.update(ref)
            elif op == "insert":
                self.made_up.update(hyp)


def word_errors_by_language(
    scored: Mapping[str, Sequence[Scored]],
) -> dict[str, dict[str, WordErrors]]:
    """Returns language -> system -> counts."""
    found: dict[str, dict[str, WordErrors]] = {}
    for system, items in scored.items():
        for item in items:
            if item.words.errors:
                by_system = found.setdefault(item.hypothesis.lang, {})
                by_system.setdefault(system, WordErrors()).add(item)
    return dict(sorted(found.items()))


def error_tables(scored: Mapping[str, Sequence[Scored]]) -> str:
    """Returns one fold a language, with the most frequent substitutions of each system side by side."""
    systems = list(scored)
    folds: list[str] = []
    for lang, by_system in word_errors_by_language(scored).items():
        columns = [
            _column(system, i, lang, by_system.get(system, WordErrors())) for i, system in enumerate(systems)
        ]
        if any(columns):
            said = _most(by_system)
            title = tag("summary", language(lang) + tag("span", said, class_="quiet"))
            body = tag("div", "".join(columns), class_="columns")
            folds.append(tag("details", title + body, open="open" if not folds else None))
    if not folds:
        return ""
    explanation = (
        f"At most {MOST} of each kind, seen {LEAST_TIMES} times or more, as the scoring profile writes them. "
        "A click on a row finds its utterances below."
    )
    return section("errors", "Most frequent errors", note(explanation), "".join(folds))


def _most(by_system: Mapping[str, WordErrors]) -> str:
    together: Counter[tuple[str, str]] = Counter()
    for errors in by_system.values():
        together += errors.substituted
    (pair, times), *_ = together.most_common(1) or [(("", ""), 0)]
    if times < LEAST_TIMES:
        return ""
    return f"{text(pair[0])} &rarr; {text(pair[1])}, {times} times in all"


def _column(system: str, position: int, lang: str, errors: WordErrors) -> str:
    rows = [
        _row(times, lang, said, tag("b", text(said)) + " &rarr; " + tag("mark", text(written)))
        for (said, written), times in _frequent(errors.substituted)
    ]
    rows += [
        _row(times, lang, word, tag("b", text(word)) + " " + tag("del", "missed"))
        for word, times in _frequent(errors.missed)[: MOST // 2]
    ]
    rows += [
        _row(times, lang, word, tag("ins", text(word)) + " " + tag("span", "made up", class_="quiet"))
        for word, times in _frequent(errors.made_up)[: MOST // 2]
    ]
    if not rows:
        return ""
    head = tag(
        "h3", tag("span", text(head_label(system)), class_="head", style=f"--c:{head_color(position)}")
    )
    return tag("div", head + tag("ul", "".join(rows), class_="pairs"), class_="column")


def _frequent(counts: Counter[Key]) -> list[tuple[Key, int]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(key, times) for key, times in ordered[:MOST] if times >= LEAST_TIMES]


def _row(times: int, lang: str, find: str, inner: str) -> str:
    shown = tag("span", inner, lang=lang, dir="auto") + tag("span", f"{times}&times;", class_="times")
    return tag("li", tag("button", shown, type="button", data_lang=lang, data_find=find, class_="find"))
