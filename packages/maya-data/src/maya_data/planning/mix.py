"""How much of each language and corpus an epoch holds: exact shares, with a cap on repeats."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from maya_data.planning.filters import FilterConfig, FilterReport
from maya_data.planning.usable import Component, Usable

POLICIES = ("temperature", "two_stage", "weights", "natural")
HALVINGS = 100
"""Steps of the search for the budget in utterances that makes a wanted number of hours."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class MixConfig:
    """Balance of languages, and of the corpora inside a language, in one epoch."""

    unit: Literal["hours", "utterances"] = "hours"
    """What is balanced."""
    policy: Literal["temperature", "two_stage", "weights", "natural"] = "temperature"
    """`temperature` shares of size ** alpha, `two_stage` all as much as the largest, `weights` yours,
    `natural` every segment once."""
    alpha: Any = 0.5
    """Exponent of `temperature`, 1 is natural and 0 equal: a number across languages, with 1 within them, or
    [within, across]."""
    max_repeats: float = 8.0
    """No corpus is heard more often than this in one epoch; what it leaves goes to the others."""
    epoch_hours: float | None = None
    """Hours of one epoch; null takes what there is (`two_stage`: what the upsampling makes of it)."""
    weights: dict[str, float] = field(default_factory=dict)
    """For `weights`: `hi: 2.0` for a language, `hi/corpus: 1.0` for a corpus inside it; every language of the
    index needs one, and every corpus of a language that weighs any of its corpora."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if self.unit not in ("hours", "utterances"):
            raise ValueError(f"`unit` must be hours or utterances, got {self.unit!r}")
        if self.policy not in POLICIES:
            raise ValueError(f"`policy` must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        self.alpha = _alpha(self.alpha)
        if not self.max_repeats > 0:
            raise ValueError(f"`max_repeats` must be above 0, got {self.max_repeats}")
        if self.epoch_hours is not None and not self.epoch_hours > 0:
            raise ValueError(f"`epoch_hours` must be above 0, got {self.epoch_hours}")
        if self.weights and self.policy != "weights":
            raise ValueError(f"`weights` has no effect with policy {self.policy!r}; set policy=weights")
        if any(not 0 <= weight < np.inf for weight in self.weights.values()):
            raise ValueError(f"`weights` must not be negative, got {self.weights}")

    @property
    def exponents(self) -> tuple[float, float]:
        """Exponent within a language, and across languages."""
        if self.policy == "natural":
            return 1.0, 1.0
        return (self.alpha[0], self.alpha[1]) if isinstance(self.alpha, list) else (1.0, self.alpha)


def _alpha(given: Any) -> float | list[float]:
    numbers = [given] if isinstance(given, int | float) else given
    try:
        exponents = [float(number) for number in numbers]
    except (TypeError, ValueError):
        exponents = []
    if len(exponents) not in (1, 2) or not all(0 <= exponent < np.inf for exponent in exponents):
        raise ValueError(f"`alpha` must be a number from 0 up, or two: [within, across], got {given!r}")
    return exponents if len(exponents) == 2 else exponents[0]


@dataclass(frozen=True)
class MixRow:
    """One corpus of a language in an epoch."""

    lang: str
    corpus: str
    segments: int
    """Segments that there are."""
    hours: float
    """Hours that there are."""
    epoch_segments: int
    """Segments of an epoch, repeats counted."""
    epoch_hours: float
    """Hours of an epoch."""
    share: float
    """Part of the epoch's hours."""
    repeats: float
    """How often an epoch goes through the corpus."""


@dataclass(frozen=True)
class MixTable:
    """What an epoch holds."""

    rows: list[MixRow]
    """One a corpus of a language, in the order of the index."""
    filter: FilterReport
    """What was left out before."""

    @property
    def epoch_hours(self) -> float:
        """Hours of an epoch, repeats counted."""
        return sum(row.epoch_hours for row in self.rows)

    @property
    def langs(self) -> dict[str, MixRow]:
        """Language -> all its corpora together; the corpus has its name where it is the only one."""
        corpora: dict[str, list[MixRow]] = {}
        for row in self.rows:
            corpora.setdefault(row.lang, []).append(row)
        return {lang: rows[0] if len(rows) == 1 else _together(rows) for lang, rows in corpora.items()}


def _together(rows: list[MixRow]) -> MixRow:
    hours, epoch_hours = (sum(getattr(row, name) for row in rows) for name in ("hours", "epoch_hours"))
    return MixRow(
        lang=rows[0].lang,
        corpus="all",
        segments=sum(row.segments for row in rows),
        hours=hours,
        epoch_segments=sum(row.epoch_segments for row in rows),
        epoch_hours=epoch_hours,
        share=sum(row.share for row in rows),
        repeats=epoch_hours / hours,
    )


def explain(index: Any, mix: MixConfig | None = None, rules: FilterConfig | None = None) -> MixTable:
    """Return what an epoch holds of every language and corpus, before anything is trained."""
    usable = Usable(index, rules or FilterConfig())
    ratios = repeats(usable.components, usable.hours, usable.counts, mix or MixConfig())
    total = max(float((ratios * usable.hours).sum()), 1e-12)
    columns = zip(usable.components, usable.counts.tolist(), usable.hours, ratios, strict=True)
    rows = [
        MixRow(
            *component,
            n,
            float(h),
            round(n * ratio),
            float(ratio * h),
            float(ratio * h) / total,
            float(ratio),
        )
        for component, n, h, ratio in columns
        if n
    ]
    return MixTable(rows, usable.filter.report())


def repeats(components: Sequence[Component], hours: Floats, counts: Ints, mix: MixConfig) -> Floats:
    """Return how often one epoch goes through each component (C,); empty ones get 0.

    Args:
        components: Languages and corpora, those of a language together.
        hours: What there is of each (C,).
        counts: Segments of each (C,).
        mix: The balance.

    Raises:
        ValueError: `weights` does not fit the languages and corpora.
    """
    if mix.policy == "natural" and mix.epoch_hours is None:
        return (counts > 0).astype(np.float64)
    sizes = hours if mix.unit == "hours" else counts.astype(np.float64)
    shares = _Shares(components, sizes, mix)
    if mix.epoch_hours is None or mix.unit == "hours":
        return shares.ratios(mix.epoch_hours or shares.natural_budget())
    low, high = 0.0, mix.max_repeats * float(sizes.sum())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = float((shares.ratios(middle) * hours).sum()) < mix.epoch_hours
        low, high = (middle, high) if short else (low, middle)
    return shares.ratios(high)


class _Shares:
    """Shares a budget out, first to languages, then to the corpora of each."""

    def __init__(self, components: Sequence[Component], sizes: Floats, mix: MixConfig):
        self.mix, self.sizes, self.components = mix, sizes, components
        self.langs = list(dict.fromkeys(component.lang for component in components))
        self.lang_of = np.array([self.langs.index(component.lang) for component in components])
        self.within = self._within()
        self.caps = mix.max_repeats * sizes * (self.within > 0)
        self.lang_sizes = self._by_lang(sizes)
        self.across = self._across() * (self.lang_sizes > 0)

    def ratios(self, budget: float) -> Floats:
        """Return how often each component is gone through where all of them together make `budget`."""
        lang_targets = _fill(budget, self.across, self._by_lang(self.caps))
        targets = np.zeros_like(self.sizes)
        for lang, target in enumerate(lang_targets):
            mine = np.flatnonzero(self.lang_of == lang)
            alone = len(mine) == 1  # spared the rounding of a division
            targets[mine] = target if alone else _fill(target, self.within[mine], self.caps[mine])
        return np.divide(targets, self.sizes, out=np.zeros_like(self.sizes), where=self.sizes > 0)

    def natural_budget(self) -> float:
        """Return the size of an epoch that nobody has chosen."""
        if self.mix.policy != "two_stage":
            return float(self.lang_sizes.sum())
        largest = np.array([self.sizes[self.lang_of == lang].max() for lang in range(len(self.langs))])
        first = self._by_lang(np.minimum(largest[self.lang_of], self.caps))
        return float(np.minimum(first.max(), self._by_lang(self.caps)).sum())

    def _by_lang(self, values: Floats) -> Floats:
        return np.bincount(self.lang_of, values, len(self.langs)).astype(np.float64)

    def _within(self) -> Floats:
        """Return the weight of each component inside its language (C,)."""
        there = self.sizes > 0
        if self.mix.policy == "two_stage":
            return there.astype(np.float64)
        if self.mix.policy != "weights":
            return _powers(self.sizes, self.mix.exponents[0])
        named = {name.partition("/")[0] for name in self.mix.weights if "/" in name}
        _check_names(self.mix.weights, ["/".join(one) for one in self.components], there, named)
        mine = [self.mix.weights.get("/".join(one), 0.0) for one in self.components]
        chosen = np.array([component.lang in named for component in self.components])
        return np.where(chosen, mine, self.sizes)

    def _across(self) -> Floats:
        """Return the weight of each language (L,)."""
        if self.mix.policy == "two_stage":
            return np.ones(len(self.langs))
        if self.mix.policy != "weights":
            return _powers(self.lang_sizes, self.mix.exponents[1])
        weights = dict(self.mix.weights)
        for name, weight in self.mix.weights.items():
            if "/" in name and (lang := name.partition("/")[0]) not in self.mix.weights:
                weights[lang] = weights.get(lang, 0.0) + weight
        for lang, size in zip(self.langs, self.lang_sizes, strict=True):
            if size and lang not in weights:
                raise ValueError(f"`weights` lacks {lang!r}; the languages are: {', '.join(self.langs)}")
        return np.array([weights.get(lang, 0.0) for lang in self.langs])


def _check_names(weights: dict[str, float], pairs: list[str], there: Any, named: set[str]) -> None:
    """Refuse names that the index has not, and corpora without a weight beside others with one."""
    langs = list(dict.fromkeys(pair.partition("/")[0] for pair in pairs))
    for name in weights:
        if name not in (pairs if "/" in name else langs):
            known = ", ".join(pairs if "/" in name else langs)
            raise ValueError(f"`weights` has {name!r}, which the index has not; it has: {known}")
    for pair, segments in zip(pairs, there, strict=True):
        if segments and pair.partition("/")[0] in named and pair not in weights:
            raise ValueError(f"`weights` lacks {pair!r}, though it weighs another corpus of that language")


def _powers(sizes: Floats, exponent: float) -> Floats:
    return np.power(sizes, exponent, out=np.zeros_like(sizes), where=sizes > 0)


def _fill(budget: float, weights: Floats, caps: Floats) -> Floats:
    """Share `budget` out by weight; what a capped one cannot take goes to the others."""
    targets = np.zeros_like(weights)
    free = weights > 0
    while free.any():
        targets[free] = (budget - targets[~free].sum()) * weights[free] / weights[free].sum()
        over = free & (targets > caps)
        if not over.any():
            break
        targets[over] = caps[over]
        free &= ~over
    return targets
