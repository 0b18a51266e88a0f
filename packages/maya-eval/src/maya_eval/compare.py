"""Two systems on the same utterances: how far apart they are in each language, and if that is chance.

A system is called better where the paired bootstrap, and the matched-pairs test where it has segments
enough, both stay under `alpha` after Holm's correction over the languages. Fewer utterances than a minimum
are refused.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from maya_eval.counting import Scored
from maya_eval.matched_pairs import MatchedPairs, matched_pairs
from maya_eval.normalize import profile as find_profile
from maya_eval.significance import MINIMUM, PairedBootstrap, holm, paired_bootstrap, speakers_or_none

ALPHA = 0.05
MIN_SPEAKERS = 5
"""Speakers below which utterances are drawn instead: two or three can only fall one of few ways."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One language of a comparison; rates are fractions, differences are second minus first."""

    lang: str
    profile: str
    version: str
    utterances: int
    words: int
    first_wer: float | None
    second_wer: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    drawn: str | None = None
    """What the bootstrap drew: speaker or utterance."""
    p_bootstrap: float | None = None
    p_bootstrap_holm: float | None = None
    segments: int = 0
    z: float | None = None
    p_matched: float | None = None
    p_matched_holm: float | None = None
    better: str | None = None
    """`first` or `second`; None where the difference may be chance, or was not tested."""
    refused: str | None = None
    """Why nothing was tested."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison as JSON takes it."""
        return asdict(self)


def compare(
    first: Sequence[Scored],
    second: Sequence[Scored],
    *,
    minimum: int = MINIMUM,
    alpha: float = ALPHA,
    seed: int = 0,
) -> list[Comparison]:
    """Returns one comparison a language, in alphabetical order.

    Args:
        first: utterances of the first system, counted under one profile.
        second: the same utterances of the second system, in the same order, under the same profile.
        minimum: utterances (bootstrap) and segments (matched pairs) below which a test is refused.
        alpha: what adjusted p values must stay under.
        seed: of the bootstrap.

    Raises:
        ValueError: other utterances, another reference, or another profile on one side.
    """
    if minimum < 2:
        raise ValueError(f"`minimum` must be 2 or more segments, got {minimum}")
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must lie between 0 and 1, got {alpha:g}")
    _check_pairs(first, second)
    langs: dict[str, list[int]] = {}
    for place, item in enumerate(first):
        langs.setdefault(item.hypothesis.lang, []).append(place)
    rows = [
        _compare_language([first[i] for i in places], [second[i] for i in places], minimum, seed)
        for _, places in sorted(langs.items())
    ]
    return _adjusted(rows, alpha)


def suspicious_references(first: Sequence[Scored], second: Sequence[Scored]) -> list[Scored]:
    """Returns the first system's utterances where two systems agree, and not with the reference.

    The reference may be wrong there. Those furthest from it come first.
    """
    _check_pairs(first, second)
    found = [a for a, b in zip(first, second, strict=True) if a.hyp == b.hyp != "" and a.words.errors]
    return sorted(found, key=lambda item: -(item.words.rate or 0.0))


def _check_pairs(first: Sequence[Scored], second: Sequence[Scored]) -> None:
    if not first or len(first) != len(second):
        raise ValueError(f"a comparison needs the same utterances twice, got {len(first)} and {len(second)}")
    profiles = {item.profile for item in (*first, *second)}
    if len(profiles) > 1:
        raise ValueError(f"a comparison has one profile, got {', '.join(sorted(profiles))}")
    for a, b in zip(first, second, strict=True):
        if a.hypothesis.utt_id != b.hypothesis.utt_id:
            raise ValueError(
                f"a comparison needs the same utterances in one order, got {a.hypothesis.utt_id!r} beside "
                f"{b.hypothesis.utt_id!r}"
            )
        if a.ref != b.ref:
            raise ValueError(
                f"utterance {a.hypothesis.utt_id!r} has two references, {a.ref!r} and {b.ref!r}: both "
                "systems must be scored on one"
            )


def _compare_language(first: list[Scored], second: list[Scored], minimum: int, seed: int) -> Comparison:
    words = np.array([item.words.ref for item in first], dtype=np.int64)
    errors = [np.array([item.words.errors for item in items], dtype=np.int64) for items in (first, second)]
    total = int(words.sum())
    row = Comparison(
        lang=first[0].hypothesis.lang,
        profile=first[0].profile,
        version=find_profile(first[0].profile).version,
        utterances=len(first),
        words=total,
        first_wer=errors[0].sum() / total if total else None,
        second_wer=errors[1].sum() / total if total else None,
    )
    spoken = int(np.count_nonzero(words))
    if spoken < minimum:
        what = f"{spoken} utterance{'s' * (spoken != 1)} with speech"
        return replace(row, refused=f"{what}, a test needs {minimum}")
    speakers = speakers_or_none([item.hypothesis.speaker for item in first], MIN_SPEAKERS)
    drawn = paired_bootstrap(errors[0], errors[1], words, speakers, seed=seed)
    pairs = matched_pairs(((a.ref, a.hyp, b.hyp) for a, b in zip(first, second, strict=True)), minimum)
    return _with_tests(row, drawn, pairs, "utterance" if speakers is None else "speaker")


def _with_tests(row: Comparison, drawn: PairedBootstrap, pairs: MatchedPairs, unit: str) -> Comparison:
    return replace(
        row,
        difference=drawn.difference,
        low=drawn.low,
        high=drawn.high,
        drawn=unit,
        p_bootstrap=drawn.p,
        segments=pairs.segments,
        z=pairs.z,
        p_matched=pairs.p,
    )


def _adjusted(rows: list[Comparison], alpha: float) -> list[Comparison]:
    bootstrap = holm({row.lang: row.p_bootstrap for row in rows})
    matched = holm({row.lang: row.p_matched for row in rows})
    adjusted = []
    for row in rows:
        tests = [p for p in (bootstrap[row.lang], matched[row.lang]) if p is not None]
        sure = bool(tests) and max(tests) < alpha and bool(row.difference)
        better = ("first" if (row.difference or 0) > 0 else "second") if sure else None
        adjusted.append(
            replace(
                row,
                p_bootstrap_holm=bootstrap[row.lang],
                p_matched_holm=matched[row.lang],
                better=better,
            )
        )
    return adjusted
