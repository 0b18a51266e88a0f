"""Score rows, and the sums they are made of: integers, kept per utterance where an interval needs them."""

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from maya_eval.counting import Scored
from maya_eval.measures.measure import Measure
from maya_eval.significance import bootstrap_interval
from maya_eval.speed import Speed

UNKNOWN = -1
"""Code of an utterance whose speaker is not known."""
PUBLIC_ORDER = ("utterances", "words", "wer", "cer", "sub", "del", "ins", "wer_low", "wer_high")


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """Scores of one group of utterances; rates are fractions, None where there is no reference word."""

    group: str
    """The language, or the values of the columns that it was grouped by."""
    profile: str
    utterances: int
    words: int
    wer: float | None
    cer: float | None
    """Over code points, spaces counted."""
    sub: int
    del_: int
    ins: int
    wer_low: float | None
    wer_high: float | None
    sentence_errors: int
    """Utterances with any word error."""
    seconds: float
    """Of audio, as far as the lines give it."""
    version: str = ""
    """Of the profile's rules."""
    gcer: float | None = None
    """Over grapheme clusters, spaces counted."""
    ser: float | None = None
    """Sentence error rate."""
    chars: int = 0
    char_errors: int = 0
    clusters: int = 0
    cluster_errors: int = 0
    interval: str | None = None
    """What the interval was drawn over: speaker or utterance."""
    empty_refs: int = 0
    """Utterances without a reference word; what was made up for them counts as insertions."""
    work_seconds: float = 0.0
    rtfx: float | None = None
    """Seconds of audio a second of work, over the utterances that give both and are no warm-up."""
    measures: dict[str, dict[str, float | int | None]] = field(default_factory=dict)
    columns: tuple[tuple[str, str], ...] = ()
    """The columns it was grouped by, and their values."""

    @property
    def lang(self) -> str:
        """The language, where rows were grouped by it; the group otherwise."""
        return dict(self.columns).get("lang", self.group)

    def to_dict(self, by: str = "lang") -> dict[str, Any]:
        """Returns the row as JSON takes it, the group under the names of its columns."""
        row: dict[str, Any] = asdict(self)
        columns = dict(row.pop("columns")) or {by: row["group"]}
        del row["group"]
        row["del"] = row.pop("del_")
        measures = row.pop("measures")
        public = {name: row.pop(name) for name in ("profile", *PUBLIC_ORDER)}
        return {**columns, **public, **row, **measures}


class Tally:
    """The counts of one group under one profile, added up utterance by utterance."""

    def __init__(self, measures: Sequence[Measure] = ()) -> None:
        self.measures = measures
        self.errors, self.refs, self.speakers = array("l"), array("l"), array("l")
        self.sums: dict[str, int] = dict.fromkeys(_SUMS, 0)
        self.seconds = 0.0
        self.speed = Speed()
        self.totals = {measure.name: [0] * len(measure.columns) for measure in measures}

    def add(self, item: Scored, speaker: int = UNKNOWN) -> None:
        """Adds one utterance; `speaker` is the code of who spoke it."""
        words, chars, clusters = item.words, item.chars, item.clusters
        self.errors.append(words.errors)
        self.refs.append(words.ref)
        self.speakers.append(speaker)
        counts = (words.sub, words.del_, words.ins, chars.errors, chars.ref, clusters.errors, clusters.ref)
        for name, count in zip(_SUMS, (*counts, words.errors > 0, not words.ref), strict=True):
            self.sums[name] += count
        self.seconds += item.hypothesis.duration or 0.0
        self.speed.add(item.hypothesis)
        for measure in self.measures:
            total = self.totals[measure.name]
            for place, count in enumerate(measure.count(item)):
                total[place] += count

    def row(
        self, columns: tuple[tuple[str, str], ...], profile: str, version: str, seed: int = 0
    ) -> ScoreRow:
        """Returns the rates of what was added."""
        sums, words, utterances = self.sums, sum(self.refs), len(self.refs)
        low, high, interval = self._interval(seed)
        return ScoreRow(
            group=" / ".join(value for _, value in columns),
            profile=profile,
            version=version,
            utterances=utterances,
            words=words,
            wer=_rate(sum(self.errors), words),
            cer=_rate(sums["char_errors"], sums["chars"]),
            gcer=_rate(sums["cluster_errors"], sums["clusters"]),
            sub=sums["sub"],
            del_=sums["del"],
            ins=sums["ins"],
            wer_low=low,
            wer_high=high,
            interval=interval,
            ser=_rate(sums["sentence_errors"], utterances),
            seconds=self.seconds,
            work_seconds=self.speed.work_seconds,
            rtfx=self.speed.rtfx,
            measures=self.figures(),
            columns=columns,
            **{name: sums[name] for name in _SAME_NAME},
        )

    def _interval(self, seed: int) -> tuple[float | None, float | None, str | None]:
        errors, refs = np.array(self.errors, dtype=np.int64), np.array(self.refs, dtype=np.int64)
        known = len(set(self.speakers)) > 1 and UNKNOWN not in self.speakers
        low, high = bootstrap_interval(errors, refs, self.speakers if known else None, seed=seed)
        return low, high, None if low is None else "speaker" if known else "utterance"

    def figures(self) -> dict[str, dict[str, float | int | None]]:
        """Returns the figures of every measure, by its name."""
        return {
            measure.name: measure.figures(dict(zip(measure.columns, self.totals[measure.name], strict=True)))
            for measure in self.measures
        }


_SUMS = (
    "sub",
    "del",
    "ins",
    "char_errors",
    "chars",
    "cluster_errors",
    "clusters",
    "sentence_errors",
    "empty_refs",
)
_SAME_NAME = ("char_errors", "chars", "cluster_errors", "clusters", "sentence_errors", "empty_refs")


def _rate(part: float, whole: float) -> float | None:
    return part / whole if whole else None
