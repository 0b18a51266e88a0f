"""How sure a rate is: the percentile bootstrap over speakers, or over utterances."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
CHUNK = 4_000_000  # resampled entries held at a time


def bootstrap_interval(
    errors: Counts,
    words: Counts,
    groups: Sequence[str | None] | None = None,
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
    errors, words = _by_group(errors, words, groups)
    rng = np.random.default_rng(seed)
    rates = np.concatenate([_rates(errors, words, n, rng) for n in _chunks(samples, len(errors))])
    tail = (1 - level) / 2
    low, high = np.nanquantile(rates, [tail, 1 - tail])
    return float(low), float(high)


def _by_group(errors: Counts, words: Counts, groups: Sequence[str | None] | None) -> tuple[Counts, Counts]:
    if groups is None:
        return errors, words
    names = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    ids = np.array([names[name] for name in groups])
    summed = np.zeros((2, len(names)), dtype=np.int64)
    np.add.at(summed[0], ids, errors)
    np.add.at(summed[1], ids, words)
    return summed[0], summed[1]


def _chunks(samples: int, size: int) -> list[int]:
    step = max(1, CHUNK // size)
    return [min(step, samples - start) for start in range(0, samples, step)]


def _rates(errors: Counts, words: Counts, samples: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    drawn = rng.integers(len(errors), size=(samples, len(errors)))
    totals = words[drawn].sum(axis=1)
    wrong = errors[drawn].sum(axis=1)
    rates = np.full(samples, np.nan)
    np.divide(wrong, totals, out=rates, where=totals > 0)
    return rates
