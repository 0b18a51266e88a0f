"""Gather the statistics of an index."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maya_data.audit import Transcripts, overlap, read_transcripts, repeats
from maya_data.indexing.flags import BAD_DURATION, EMPTY_TEXT, MEANINGS, NO_AUDIO, UNKNOWN_LANG, WRONG_SCRIPT
from maya_data.indexing.segments import SegmentIndex
from maya_data.stats.buckets import buckets
from maya_data.stats.counting import SPEED_STEPS, TICKS_A_SECOND, Tally
from maya_data.stats.report import CorpusRow, Histogram, LangStats, Speakers, Stats

BARS = 40
"""Bars of a histogram."""
MOST = 20
FLAG_NAMES = {
    EMPTY_TEXT: "empty transcript",
    BAD_DURATION: "bad duration",
    NO_AUDIO: "no audio",
    UNKNOWN_LANG: "unknown language",
    WRONG_SCRIPT: "wrong script",
}

Counts = npt.NDArray[np.int64]


def describe(
    index: SegmentIndex,
    *,
    against: Sequence[SegmentIndex] = (),
    num_buckets: int = 30,
    batch_duration: float = 360.0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Stats:
    """Return the statistics of `index`; no audio is read.

    Args:
        index: What to describe.
        against: Indexes, evaluation sets for one, whose transcripts should not be in `index`.
        num_buckets: Most rows of the bucket table.
        batch_duration: Seconds of audio in a batch, for the bucket table.
        progress: Called with rows done, rows in all, and what is done.

    Raises:
        ValueError: A setting is out of range.
    """
    if num_buckets < 1 or batch_duration <= 0:
        raise ValueError(
            f"`num_buckets` and `batch_duration` must be above 0, got {num_buckets} and {batch_duration}"
        )
    tally = Tally(index).count()
    read = read_transcripts(index, progress)
    table = buckets(tally.trainable_ticks, number=num_buckets, batch_duration=batch_duration)
    others = [overlap(index, read, other) for other in against]
    return Stats(**_totals(index, tally), **_texts(index, read), buckets=table, overlap=others)


def _texts(index: SegmentIndex, read: Transcripts) -> dict[str, Any]:
    return {"charset": read.charset, "repeats": repeats(index, read)}


def _totals(index: SegmentIndex, tally: Tally) -> dict[str, Any]:
    durations = _histogram(tally.ticks, TICKS_A_SECOND)
    speeds = _histogram(tally.speeds, SPEED_STEPS)
    return {
        "path": str(index.path),
        "fingerprint": index.fingerprint,
        "text_profile": index.text_profile,
        "segments": len(index),
        "total_hours": float(tally.seconds["lang"].sum() / 3600),
        "trainable_hours": float(tally.trainable_seconds.sum() / 3600),
        "hours": _hours(tally, "lang"),
        "langs": [_lang(tally, number, durations, speeds) for number in range(len(index.langs))],
        "corpora": _hours(tally, "corpus"),
        "corpus_rows": _corpora(tally),
        "domains": _hours(tally, "domain"),
        "sampling_rates": _by_name(tally, "sampling_rate", tally.segments["sampling_rate"].tolist()),
        "speakers": _speakers(tally),
        "durations": durations,
        "chars_per_second": speeds,
        "dropped": index.info["dropped"],
        "broken": index.info["broken"],
    }


def _by_name(tally: Tally, column: str, values: list[Any]) -> dict[str, Any]:
    return {str(name): value for name, value in zip(tally.names[column], values, strict=True)}


def _hours(tally: Tally, column: str) -> dict[str, float]:
    return _by_name(tally, column, (tally.seconds[column] / 3600).tolist())


def _lang(tally: Tally, number: int, durations: Histogram, speeds: Histogram) -> LangStats:
    segments, seconds = int(tally.segments["lang"][number]), float(tally.seconds["lang"][number])
    ticks = tally.ticks[number]
    flags = dict(zip(MEANINGS, tally.flags[number].tolist(), strict=True))
    return LangStats(
        lang=tally.names["lang"][number],
        segments=segments,
        hours=seconds / 3600,
        trainable_hours=float(tally.trainable_seconds[number] / 3600),
        speakers=int(tally.speakers()[number]),
        mean_duration=seconds / max(segments, 1),
        median_duration=_quantile(ticks, 0.5),
        p95_duration=_quantile(ticks, 0.95),
        chars_per_second=float(tally.chars[number]) / max(seconds, 1e-3),
        flags={FLAG_NAMES[bit]: count for bit, count in flags.items() if count},
        durations=_counts(ticks, durations.edges, TICKS_A_SECOND),
        speeds=_counts(tally.speeds[number], speeds.edges, SPEED_STEPS),
    )


def _corpora(tally: Tally) -> list[CorpusRow]:
    corpora, langs = tally.names["corpus"], tally.names["lang"]
    rows = [
        CorpusRow(
            corpus=corpora[corpus],
            lang=langs[lang],
            segments=int(tally.corpus_segments[lang, corpus]),
            hours=float(tally.corpus_seconds[lang, corpus] / 3600),
        )
        for lang, corpus in np.argwhere(tally.corpus_segments).tolist()
    ]
    return sorted(rows, key=lambda row: (row.corpus, row.lang))


def _speakers(tally: Tally) -> Speakers:
    hours, segments = tally.seconds["speaker"] / 3600, tally.segments["speaker"]
    nobody = tally.unnamed()
    named = np.delete(np.arange(len(hours)), nobody) if nobody >= 0 else np.arange(len(hours))
    most = named[np.argsort(-hours[named], kind="stable")[:MOST]].tolist()
    return Speakers(
        named=len(named),
        unnamed_segments=int(segments[nobody]) if nobody >= 0 else 0,
        median_hours=float(np.median(hours[named])) if len(named) else 0.0,
        most=[
            {"speaker": tally.names["speaker"][i], "segments": int(segments[i]), "hours": float(hours[i])}
            for i in most
        ],
    )


def _quantile(ticks: Counts, share: float) -> float:
    """Return the seconds that `share` of the segments do not exceed."""
    total = np.cumsum(ticks)
    return float(np.searchsorted(total, max(share * total[-1], 1))) / TICKS_A_SECOND if total[-1] else 0.0


def _histogram(fine: Counts, steps: int) -> Histogram:
    """Return a histogram of all languages (L, T) with round edges that cover 99.9 % of the values."""
    counts = fine.sum(axis=0)
    total = np.cumsum(counts)
    top = int(np.searchsorted(total, 0.999 * total[-1])) + 1 if len(total) and total[-1] else steps
    width = _round_up(top / BARS)
    edges = [number * width / steps for number in range(-(-top // width) + 1)]
    return Histogram(edges=edges, counts=_counts(counts, edges, steps))


def _round_up(width: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, 50..."""
    power: int = 10 ** max(0, math.floor(math.log10(max(width, 1))))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= width)


def _counts(fine: Counts, edges: list[float], steps: int) -> list[int]:
    """Return the counts between `edges` of one row of fine counts (T,); the last takes what is beyond."""
    places = np.rint(np.array(edges[:-1]) * steps).astype(np.int64)
    counts: list[int] = np.add.reduceat(fine, np.minimum(places, len(fine) - 1)).tolist()
    return counts
