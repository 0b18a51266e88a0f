"""How sure a rate is, and how sure the difference of two systems on the same utterances is.

Bootstrap intervals (Bisani and Ney, 2004) over speakers or utterances, the paired bootstrap, and Holm's
correction for many languages. The matched-pairs test is in matched_pairs.py. Below a minimum of segments
nothing is claimed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Rates = npt.NDArray[np.float64]
Groups = Sequence[str | int | None]
CHUNK = 4_000_000  # drawn counts held at a time
MINIMUM = 30
"""Segments below which a test is refused: too few for a normal or a resampled distribution."""


@dataclass(frozen=True)
class PairedBootstrap:
    """Rate of the second system minus that of the first, its interval, and a two-sided p value."""

    difference: float
    low: float
    high: float
    p: float


def bootstrap_interval(
    errors: Counts,
    words: Counts,
    groups: Groups | None = None,
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float | None, float | None]:
    """Returns the interval of the corpus rate `sum(errors) / sum(words)`.

    Args:
        errors: errors of each utterance.
        words: reference words of each utterance.
        groups: who spoke each utterance; one speaker's utterances err together, so they are drawn together.
        samples: resampled corpora.
        level: share of them inside the interval.
        seed: of the drawing.
    """
    if len(errors) < 2 or words.sum() == 0:
        return None, None
    drawn = _resampled(np.stack([errors, words], axis=1), groups, samples, seed)
    low, high = np.nanquantile(_ratio(drawn[:, 0], drawn[:, 1]), _tails(level))
    return float(low), float(high)


def paired_bootstrap(
    first: Counts,
    second: Counts,
    words: Counts,
    groups: Groups | None = None,
    *,
    samples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedBootstrap:
    """Returns how far the corpus rates of two systems lie apart; both are drawn on the same utterances.

    Args:
        first: errors of the first system in each utterance.
        second: errors of the second system in each utterance.
        words: reference words of each utterance.
        groups: who spoke each utterance, where that is known.
        samples: resampled corpora; p is not smaller than 2 / (samples + 1).
        level: share of them inside the interval.
        seed: of the drawing.
    """
    if words.sum() == 0:
        raise ValueError("a paired test needs reference words, there are none")
    gaps = second.astype(np.int64) - first
    drawn = _resampled(np.stack([gaps, words], axis=1), groups, samples, seed)
    differences = _ratio(drawn[:, 0], drawn[:, 1])
    differences = differences[~np.isnan(differences)]
    low, high = np.quantile(differences, _tails(level))
    rarer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    p = min(1.0, 2 * (rarer + 1) / (len(differences) + 1))
    return PairedBootstrap(float(gaps.sum() / words.sum()), float(low), float(high), p)


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Returns Holm's adjusted p values of a family of tests; None, a test not made, is not counted."""
    made = sorted((p, name) for name, p in p_values.items() if p is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    highest = 0.0
    for rank, (p, name) in enumerate(made):
        highest = max(highest, min(1.0, p * (len(made) - rank)))
        adjusted[name] = highest
    return adjusted


def speakers_or_none(speakers: Sequence[str | None], minimum: int = 2) -> Sequence[str | None] | None:
    """Returns the speakers where all are known and there are enough of them to draw from, else None."""
    return None if None in speakers or len(set(speakers)) < minimum else speakers


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def _resampled(table: Counts, groups: Groups | None, samples: int, seed: int) -> Counts:
    """Column sums of resampled corpora, (samples, columns).

    Equal units are drawn together: how often each kind of row comes is one multinomial draw.
    """
    units = table.astype(np.int64) if groups is None else _by_group(table, groups)
    kinds, often = np.unique(units, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // len(kinds))
    sizes = [min(step, samples - start) for start in range(0, samples, step)]
    shares = often / len(units)
    return np.concatenate([rng.multinomial(len(units), shares, size=size) @ kinds for size in sizes])


def _by_group(table: Counts, groups: Groups) -> Counts:
    names = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    summed = np.zeros((len(names), table.shape[1]), dtype=np.int64)
    np.add.at(summed, [names[name] for name in groups], table)
    return summed


def _ratio(errors: Counts, words: Counts) -> Rates:
    rates = np.full(len(errors), np.nan)
    np.divide(errors, words, out=rates, where=words > 0)
    return rates
