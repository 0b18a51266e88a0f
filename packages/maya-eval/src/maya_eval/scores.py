"""From hypotheses to score rows: a language (or any columns) a row, and means that name their parts."""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from maya_eval.buckets import Grouping, Key
from maya_eval.counting import Scored, count_all, count_one
from maya_eval.hypotheses import Hypothesis, iter_hypotheses
from maya_eval.measures.langid import Identification
from maya_eval.measures.measure import Measure
from maya_eval.normalize import ALSO_KNOWN, LANGS
from maya_eval.normalize import profile as find_profile
from maya_eval.rows import UNKNOWN, ScoreRow, Tally
from maya_eval.speed import Speed

__all__ = [
    "HEADLINE",
    "MacroMean",
    "ScoreRow",
    "Scored",
    "Scorer",
    "count",
    "macro_mean",
    "permute_within_language",
    "rows_by",
    "score",
    "score_file",
]

HEADLINE = "indic-strict-v1"


@dataclass(frozen=True)
class MacroMean:
    """The plain mean over groups, never shown without the groups it is made of."""

    wer: float | None
    cer: float | None
    utterances: int
    parts: tuple[str, ...]


class Scorer:
    """Adds utterances one by one under several profiles; no text is kept, so a file may be of any length.

    A profile without rules for a language (`whisper-en` for Hindi) has no row for it; `uncovered` says where.
    A language that no scoring knows is refused by every profile but `raw`.
    """

    def __init__(
        self, profiles: Sequence[str], by: Grouping | None = None, measures: Sequence[Measure] = ()
    ) -> None:
        self.profiles = [find_profile(name) for name in profiles]
        self.by = by or Grouping()
        self.measures = measures
        self.tallies: dict[str, dict[Key, Tally]] = {p.name: {} for p in self.profiles}
        self.uncovered: dict[str, Counter[str]] = defaultdict(Counter)
        self.identification = Identification()
        self.speed = Speed()
        self.watch: Callable[[Scored], None] | None = None
        """Called with every counted utterance, for what is kept elsewhere."""
        self._speakers: dict[str, int] = {}

    def add(self, row: Hypothesis) -> None:
        """Counts one utterance under every profile."""
        self.identification.add(row)
        self.speed.add(row)
        for profile in self.profiles:
            if profile.covers(row.lang) or row.lang not in (*LANGS, *ALSO_KNOWN):
                self.add_scored(count_one(row, profile))
            else:
                self.uncovered[profile.name][row.lang] += 1

    def add_scored(self, item: Scored) -> None:
        """Adds an utterance that is counted already."""
        groups, key = self.tallies[item.profile], self.by.key(item)
        if (tally := groups.get(key)) is None:
            tally = groups[key] = Tally(self.measures)
        speaker = item.hypothesis.speaker
        code = UNKNOWN if speaker is None else self._speakers.setdefault(speaker, len(self._speakers))
        tally.add(item, code)
        if self.watch is not None:
            self.watch(item)

    def rows(self, seed: int = 0) -> list[ScoreRow]:
        """Returns the rows of all profiles in the order given, groups in theirs."""
        names = self.by.columns
        return [
            tally.row(tuple(zip(names, (value for _, value in key), strict=True)), p.name, p.version, seed)
            for p in self.profiles
            for key, tally in sorted(self.tallies[p.name].items())
        ]


def count(hypotheses: Iterable[Hypothesis], profile: str = HEADLINE) -> list[Scored]:
    """Returns every utterance with its integer counts under that profile."""
    return list(count_all(hypotheses, find_profile(profile)))


def score(
    hypotheses: Iterable[Hypothesis],
    profile: str = HEADLINE,
    by: str = "lang",
    *,
    measures: Sequence[Measure] = (),
    edges: Mapping[str, tuple[float, ...]] | None = None,
    seed: int = 0,
) -> list[ScoreRow]:
    """Returns one row for each value of the column `by`, in alphabetical order.

    Args:
        hypotheses: utterances of any languages.
        profile: name of the normalisation.
        by: columns to group by, with commas: `lang`, `speaker`, `duration` or anything the lines carry.
        measures: what is counted beside WER and CER.
        edges: where numbers of a column are parted into buckets.
        seed: of the bootstrap behind `wer_low` and `wer_high` (95 %, over speakers where all are known).
    """
    return rows_by(count(hypotheses, profile), profile, by, measures=measures, edges=edges, seed=seed)


def rows_by(
    scored: Iterable[Scored],
    profile: str,
    by: str = "lang",
    *,
    measures: Sequence[Measure] = (),
    edges: Mapping[str, tuple[float, ...]] | None = None,
    seed: int = 0,
) -> list[ScoreRow]:
    """Returns `score`'s rows from utterances that are counted already; counts of two profiles are refused."""
    scorer = Scorer([profile], Grouping.parse(by, edges), measures)
    for item in scored:
        if item.profile not in ("", profile):
            raise ValueError(
                f"utterance {item.hypothesis.utt_id!r} was counted under {item.profile}, not {profile}: "
                "one row has one profile"
            )
        scorer.add_scored(item if item.profile else replace(item, profile=profile))
    return scorer.rows(seed)


def macro_mean(rows: Sequence[ScoreRow]) -> MacroMean:
    """Returns the plain mean of the rows that have a rate; rows of two profiles are refused."""
    if len(mixed := {(row.profile, row.version) for row in rows}) > 1:
        names = ", ".join(sorted(name for name, _ in mixed))
        raise ValueError(f"a mean is over rows of one profile and version, got {names}")
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
    """Returns the rows of a JSON lines file, read line by line."""
    scorer = Scorer([profile], Grouping.parse(by))
    for row in iter_hypotheses(path):
        scorer.add(row)
    return scorer.rows()
