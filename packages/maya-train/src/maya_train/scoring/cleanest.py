"""The cleanest part of each language, by the scores of its segments."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from maya_train.scoring.passes import Floats, Scores

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Chosen:
    """What became of one language."""

    segments: int
    """That the stage could train on."""
    unscored: int
    """Of these, whose audio cannot be read, or is too short for the transcript."""
    hours: float
    kept_segments: int
    kept_hours: float
    loss: float
    """Mean over the segments that are kept."""
    loss_of_all: float
    """Mean over all that could be scored."""
    cer: float
    cer_of_all: float


def cleanest(
    scores: Scores, langs: npt.NDArray[np.integer], durations: Floats, share: float, by: str = "both"
) -> Bools:
    """Which segments (N,) are in the cleanest `share` of their language's hours; of each, one at least.

    Args:
        scores: of the segments.
        langs: number of the language of each (N,).
        durations: of each, in seconds (N,).
        share: above 0 and at most 1.
        by: `loss`, `cer`, or `both`: the mean of the places that a segment has by each.
    """
    kept = np.zeros(len(scores.rows), np.bool_)
    is_scored = np.isfinite(scores.loss) & np.isfinite(scores.cer)
    for lang in np.unique(langs):
        of_lang = langs == lang
        places = np.flatnonzero(of_lang & is_scored)
        if not len(places):
            continue
        order = places[_order(scores.loss[places], scores.cer[places], by)]
        seconds = np.cumsum(durations[order].astype(np.float64))
        wanted = share * float(durations[of_lang].astype(np.float64).sum())
        kept[order[: max(1, int(np.searchsorted(seconds, wanted * (1 + 1e-9), side="right")))]] = True
    return kept


def _order(loss: Floats, cer: Floats, by: str) -> npt.NDArray[np.intp]:
    """From clean to dirty; among equals the lower loss comes first, and then the lower place."""
    keys = {"loss": loss, "cer": cer, "both": _rank(loss) + _rank(cer)}
    return np.lexsort((loss, keys[by]))


def _rank(values: Floats) -> npt.NDArray[np.int64]:
    """The place of each value, the same for equal ones."""
    return np.searchsorted(np.sort(values), values)


def report(
    scores: Scores, langs: npt.NDArray[np.integer], durations: Floats, kept: Bools, names: list[str]
) -> dict[str, Chosen]:
    """What became of each language."""
    found = {}
    is_scored = np.isfinite(scores.loss) & np.isfinite(scores.cer)
    for lang in np.unique(langs):
        of_lang = langs == lang
        scored, taken = of_lang & is_scored, of_lang & kept
        found[names[int(lang)]] = Chosen(
            segments=int(of_lang.sum()),
            unscored=int((of_lang & ~is_scored).sum()),
            hours=_hours(durations[of_lang]),
            kept_segments=int(taken.sum()),
            kept_hours=_hours(durations[taken]),
            loss=_mean(scores.loss[taken]),
            loss_of_all=_mean(scores.loss[scored]),
            cer=_mean(scores.cer[taken]),
            cer_of_all=_mean(scores.cer[scored]),
        )
    return found


def table(chosen: Mapping[str, Chosen]) -> str:
    """The same for the eye: what is kept, and in brackets what there is."""
    lines = [f"{'lang':<6}{'segments':>24}{'hours':>22}{'loss a token':>18}{'CER %':>16}  unscored"]
    for lang, one in chosen.items():
        segments = f"{one.kept_segments:,} ({one.segments:,})"
        hours = f"{one.kept_hours:,.2f} ({one.hours:,.2f})"
        loss = f"{one.loss:.3f} ({one.loss_of_all:.3f})"
        cer = f"{100 * one.cer:.1f} ({100 * one.cer_of_all:.1f})"
        lines.append(f"{lang:<6}{segments:>24}{hours:>22}{loss:>18}{cer:>16}{one.unscored:>10,}")
    return "\n".join(lines)


def plain(chosen: Mapping[str, Chosen]) -> dict[str, dict[str, float]]:
    """The same as plain values."""
    return {lang: asdict(one) for lang, one in chosen.items()}


def _hours(seconds: Floats) -> float:
    return round(float(seconds.astype(np.float64).sum()) / 3600, 6)


def _mean(values: Floats) -> float:
    return round(float(values.astype(np.float64).mean()), 6) if len(values) else float("nan")
