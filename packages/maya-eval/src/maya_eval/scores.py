"""From hypotheses to score rows: a language (or any column) a row, and means that name their parts."""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from maya_eval.edits import ErrorCounts, char_errors, word_errors
from maya_eval.hypotheses import Hypothesis, read_hypotheses
from maya_eval.normalize import profile as find_profile
from maya_eval.significance import bootstrap_interval

HEADLINE = "indic-strict-v1"


@dataclass(frozen=True)
class Scored:
    """One utterance with its counts, under one profile."""

    hypothesis: Hypothesis
    ref: str
    hyp: str
    words: ErrorCounts
    chars: ErrorCounts


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """Scores of one group of utterances; rates are fractions, None where there is no reference word."""

    group: str
    profile: str
    utterances: int
    words: int
    wer: float | None
    cer: float | None
    sub: int
    del_: int
    ins: int
    wer_low: float | None
    wer_high: float | None
    sentence_errors: int
    seconds: float

    def to_dict(self, by: str = "lang") -> dict[str, Any]:
        """Returns the row as JSON takes it, the group under the name of its column."""
        row = asdict(self)
        return {by: row.pop("group"), "profile": row.pop("profile")} | {
            {"del_": "del"}.get(name, name): value for name, value in row.items()
        }


@dataclass(frozen=True)
class MacroMean:
    """The plain mean over groups, never shown without the groups it is made of."""

    wer: float | None
    cer: float | None
    utterances: int
    parts: tuple[str, ...]


def count(hypotheses: Sequence[Hypothesis], profile: str = HEADLINE) -> list[Scored]:
    """Returns every utterance with its integer counts under that profile."""
    normalize = find_profile(profile)
    scored = []
    for row in hypotheses:
        try:
            ref, hyp = normalize(row.text, row.lang), normalize(row.pred_text, row.lang)
        except ValueError as error:
            raise ValueError(f"utterance {row.utt_id!r}: {error}") from error
        scored.append(Scored(row, ref, hyp, word_errors(ref, hyp), char_errors(ref, hyp)))
    return scored


def score(
    hypotheses: Sequence[Hypothesis], profile: str = HEADLINE, by: str = "lang", *, seed: int = 0
) -> list[ScoreRow]:
    """Returns one row for each value of the column `by`, in alphabetical order.

    Args:
        hypotheses: utterances of any languages.
        profile: name of the normalisation.
        by: column to group by: `lang`, `speaker` or anything the lines carry.
        seed: of the bootstrap behind `wer_low` and `wer_high` (95 %, over speakers where all are known).
    """
    return rows_by(count(hypotheses, profile), profile, by, seed=seed)


def rows_by(scored: Sequence[Scored], profile: str, by: str = "lang", *, seed: int = 0) -> list[ScoreRow]:
    """Returns `score`'s rows from utterances that are counted already."""
    groups: dict[str, list[Scored]] = defaultdict(list)
    for item in scored:
        groups[item.hypothesis.column(by)].append(item)
    return [_row(name, items, profile, seed) for name, items in sorted(groups.items())]


def _row(group: str, items: list[Scored], profile: str, seed: int) -> ScoreRow:
    words = sum((item.words for item in items), ErrorCounts())
    chars = sum((item.chars for item in items), ErrorCounts())
    speakers = [item.hypothesis.speaker for item in items]
    low, high = bootstrap_interval(
        np.array([item.words.errors for item in items]),
        np.array([item.words.ref for item in items]),
        None if None in speakers or len(set(speakers)) < 2 else speakers,
        seed=seed,
    )
    return ScoreRow(
        group=group,
        profile=profile,
        utterances=len(items),
        words=words.ref,
        wer=words.rate,
        cer=chars.rate,
        sub=words.sub,
        del_=words.del_,
        ins=words.ins,
        wer_low=low,
        wer_high=high,
        sentence_errors=sum(item.words.errors > 0 for item in items),
        seconds=sum(item.hypothesis.duration or 0.0 for item in items),
    )


def macro_mean(rows: Sequence[ScoreRow]) -> MacroMean:
    """Returns the plain mean of the rows that have a rate."""
    rated = [row for row in rows if row.wer is not None and row.cer is not None]
    return MacroMean(
        wer=float(np.mean([row.wer for row in rated])) if rated else None,
        cer=float(np.mean([row.cer for row in rated])) if rated else None,
        utterances=sum(row.utterances for row in rated),
        parts=tuple(row.group for row in rated),
    )


def permute_within_language(hypotheses: Sequence[Hypothesis], seed: int = 0) -> list[Hypothesis]:
    """Returns the same utterances, each with the output for another utterance of its language.

    A model that hears nothing and has only learned the sentences scores here as well as on the truth. No
    utterance keeps its own output, and where the sentences allow it none gets the output for an equal one.
    """
    languages: dict[str, list[int]] = defaultdict(list)
    for position, row in enumerate(hypotheses):
        languages[row.lang].append(position)
    permuted = list(hypotheses)
    for lang, positions in sorted(languages.items()):
        if len(positions) < 2:
            raise ValueError(
                f"a control needs 2 or more utterances a language, {lang!r} has {len(positions)}"
            )
        for target, source in _derange(positions, [hypotheses[p].text for p in positions], f"{seed}/{lang}"):
            permuted[target] = replace(hypotheses[target], pred_text=hypotheses[source].pred_text)
    return permuted


def _derange(positions: list[int], texts: list[str], seed: str) -> list[tuple[int, int]]:
    """Pairs each position with another: equal texts lie together, and the largest group is stepped over."""
    rng = random.Random(seed)
    rank = {text: rng.random() for text in sorted(set(texts))}
    order = sorted(range(len(positions)), key=lambda i: (rank[texts[i]], i))
    largest = max(Counter(texts).values())
    shift = largest if largest < len(order) else 1
    return [(positions[i], positions[order[(at + shift) % len(order)]]) for at, i in enumerate(order)]


def score_file(path: str | os.PathLike[str], profile: str = HEADLINE, by: str = "lang") -> list[ScoreRow]:
    """Returns the rows of a JSON lines file."""
    return score(read_hypotheses(path), profile, by)
