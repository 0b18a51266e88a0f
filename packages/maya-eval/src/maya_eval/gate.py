"""The release gate: which head to ship for each language, and why.

Heads are taken from the cheapest to run to the dearest (ctc, rnnt, llm). A dearer head takes the place of
the one before it only where it is better in the paired test (compare.py); where it is not, the language
ships the cheaper head. A language passes when the head it ships keeps within the limits that were asked
for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from maya_eval.compare import ALPHA, Comparison, compare
from maya_eval.counting import Scored, count_all
from maya_eval.hypotheses import Hypothesis
from maya_eval.measures import hallucination
from maya_eval.normalize import profile as find_profile
from maya_eval.references import Missing, matched
from maya_eval.rows import Tally
from maya_eval.significance import MINIMUM

HEADS = ("ctc", "rnnt", "llm")
"""From the cheapest to run to the dearest."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a language must keep to pass; None asks for nothing."""

    max_wer: float | None = None
    max_hallucination: float | None = None
    """Share of speech utterances flagged as made up: repeated, far too long or far too fast."""
    require: str | None = None
    """A head that every language must ship."""
    minimum: int = MINIMUM
    """Utterances and segments below which nothing is tested, and so no dearer head is shipped."""
    alpha: float = ALPHA


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What one language ships."""

    lang: str
    ship: str
    why: str
    passed: bool
    failures: list[str]
    utterances: int
    wer: dict[str, float | None]
    hallucination: dict[str, float | int | None]
    tests: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decisions of all languages, under one profile."""

    profile: str
    version: str
    alpha: float
    decisions: list[Decision]

    @property
    def passed(self) -> bool:
        """Whether every language ships a head within the limits."""
        return all(decision.passed for decision in self.decisions)

    def to_dict(self) -> dict[str, Any]:
        """Returns the verdict as JSON takes it."""
        return {"passed": self.passed, **asdict(self)}


def decide(
    heads: Mapping[str, Sequence[Hypothesis]],
    profile: str,
    limits: Limits | None = None,
    *,
    missing: Missing = "refuse",
    seed: int = 0,
) -> Verdict:
    """Returns what each language ships.

    Args:
        heads: hypotheses by head, two or more of ctc, rnnt and llm, on the same utterances.
        profile: name of the normalisation.
        limits: what a language must keep.
        missing: whether utterances that a head lacks are refused or count as deletions.
        seed: of the bootstrap.
    """
    limits = limits or Limits()
    names = [head for head in HEADS if head in heads]
    if len(names) < 2 or len(names) != len(heads):
        raise ValueError(f"a gate needs two or more of {', '.join(HEADS)}, got {', '.join(heads) or 'none'}")
    if limits.require and limits.require not in names:
        raise ValueError(f"{limits.require!r} is required, but only {', '.join(names)} were given")
    chosen = find_profile(profile)
    rows = matched({name: heads[name] for name in names}, missing)
    scored = {name: list(count_all(rows[name], chosen)) for name in names}
    pairs = {
        pair: {row.lang: row for row in _compare(scored, pair, limits, seed)}
        for pair in combinations(names, 2)
    }
    langs = sorted({item.hypothesis.lang for item in scored[names[0]]})
    decisions = [_decide_language(lang, scored, pairs, limits) for lang in langs]
    return Verdict(profile=chosen.name, version=chosen.version, alpha=limits.alpha, decisions=decisions)


Pair = tuple[str, str]
Pairs = Mapping[Pair, Mapping[str, Comparison]]


def _compare(
    scored: Mapping[str, Sequence[Scored]], pair: Pair, limits: Limits, seed: int
) -> list[Comparison]:
    first, second = pair
    return compare(scored[first], scored[second], minimum=limits.minimum, alpha=limits.alpha, seed=seed)


def _decide_language(
    lang: str, scored: Mapping[str, Sequence[Scored]], pairs: Pairs, limits: Limits
) -> Decision:
    names = list(scored)
    items = {name: [item for item in scored[name] if item.hypothesis.lang == lang] for name in names}
    ship, reasons = names[0], []
    for name in names[1:]:
        test = pairs[ship, name][lang]
        reasons.append(_reason(ship, name, test))
        if test.better == "second":
            ship = name
    wer = {name: _wer(items[name]) for name in names}
    made_up = {name: _flagged(items[name]) for name in names}
    failures = _failures(ship, wer[ship], made_up[ship], limits)
    return Decision(
        lang=lang,
        ship=ship,
        why="; ".join(reasons),
        passed=not failures,
        failures=failures,
        utterances=len(items[ship]),
        wer=wer,
        hallucination=made_up,
        tests=[{"first": a, "second": b, **rows[lang].to_dict()} for (a, b), rows in pairs.items()],
    )


def _reason(ship: str, name: str, test: Comparison) -> str:
    if test.refused:
        return f"{name} against {ship} is not tested: {test.refused}"
    points = 100 * (test.difference or 0.0)
    p_values = [p for p in (test.p_bootstrap_holm, test.p_matched_holm) if p is not None]
    p = f"p {max(p_values):.3f}" if max(p_values) >= 0.001 else "p < 0.001"
    if test.better == "second":
        return f"{name} makes {-points:.1f} points fewer errors than {ship} ({p})"
    if test.better == "first":
        return f"{name} makes {points:.1f} points more errors than {ship} ({p})"
    return f"{name} is not shown to be better than {ship} ({points:+.1f} points, {p})"


def _failures(ship: str, wer: float | None, flagged: float | int | None, limits: Limits) -> list[str]:
    failures = []
    if limits.require and ship != limits.require:
        failures.append(f"ships {ship}, {limits.require} is required")
    if limits.max_wer is not None and (wer is None or wer > limits.max_wer):
        rate = "-" if wer is None else f"{100 * wer:.1f} %"
        failures.append(f"WER {rate} is over {100 * limits.max_wer:g} %")
    if limits.max_hallucination is not None and (flagged or 0.0) > limits.max_hallucination:
        failures.append(f"{100 * (flagged or 0):.1f} % made up is over {100 * limits.max_hallucination:g} %")
    return failures


def _wer(items: Sequence[Scored]) -> float | None:
    words = sum(item.words.ref for item in items)
    return sum(item.words.errors for item in items) / words if words else None


def _flagged(items: Sequence[Scored]) -> float | int | None:
    tally = Tally([hallucination.MEASURE])
    for item in items:
        tally.add(item)
    return tally.figures()["hallucination"]["flagged"]
