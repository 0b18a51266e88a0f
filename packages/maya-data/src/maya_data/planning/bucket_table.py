"""The buckets of a plan as a table: edges, batch sizes, and how much of the batches is padding."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maya_data.planning.bins import Buckets
from maya_data.planning.layout import Passes, choose_buckets
from maya_data.planning.plan import Plan
from maya_data.planning.plan_config import PlanConfig
from maya_data.planning.usable import Usable

DRAWN = 1_000_000
"""Segments of the first epoch whose batches are measured."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bucket:
    """One bucket."""

    max_duration: float
    """Seconds; the shortest is over that of the bucket before."""
    max_tokens: int | None
    """Most tokens, where buckets are cut by tokens too."""
    batch_size: int
    """Most segments in a batch."""
    segments: int
    """Segments that there are."""
    hours: float
    """Hours that there are."""
    padding: float
    """Part of its batches that is padding."""


@dataclass(frozen=True)
class BucketTable:
    """All buckets."""

    segments: int
    hours: float
    batch_duration: float
    """Seconds of padded audio in a batch."""
    max_batch_size: int | None
    tokenizer: str | None
    """Hash of the model that counted the tokens."""
    padding: float
    """Part of all batches that is padding, measured on batches of an epoch."""
    buckets: list[Bucket]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON: what `buckets_file` of a plan reads."""
        return asdict(self)


def bucket_table(index: Any, config: PlanConfig) -> BucketTable:
    """Return the buckets that a plan with these settings has.

    Raises:
        ValueError: The settings fit no plan over `index`, a SegmentIndex.
    """
    passes = Passes(Usable(index, config.filter), config, 0)
    buckets = choose_buckets(passes)
    segments, seconds = np.zeros(len(buckets), np.int64), np.zeros(len(buckets))
    for each in passes:
        numbers = buckets.of(each.durations, each.tokens)
        segments += np.bincount(numbers, minlength=len(buckets))
        seconds += np.bincount(numbers, each.durations, len(buckets))
    real, padded = _measured(Plan(index, config), passes, buckets)
    rows = [
        Bucket(longest, tokens, int(size), int(n), float(s) / 3600, float(1 - r / p) if p else 0.0)
        for (longest, tokens), size, n, s, r, p in zip(
            _edges(buckets), buckets.sizes, segments, seconds, real, padded, strict=True
        )
        if n
    ]
    return BucketTable(
        segments=int(segments.sum()),
        hours=float(seconds.sum()) / 3600,
        batch_duration=config.batch_duration,
        max_batch_size=config.max_batch_size,
        tokenizer=config.tokenizer,
        padding=float(1 - real.sum() / padded.sum()),
        buckets=rows,
    )


def _edges(buckets: Buckets) -> list[tuple[float, int | None]]:
    last = np.append(np.flatnonzero(np.diff(buckets.bins)), len(buckets.bins) - 1)
    durations = buckets.edges[last].tolist()
    if buckets.token_edges is None:
        return [(duration, None) for duration in durations]
    rows = zip(durations, buckets.token_edges.tolist(), strict=True)
    return [(duration, tokens) for duration, row in rows for tokens in row]


def _measured(plan: Plan, passes: Passes, buckets: Buckets) -> tuple[Floats, Floats]:
    """Return the seconds of speech and of padded batches of each bucket (B,)."""
    real, padded, drawn = np.zeros(len(buckets)), np.zeros(len(buckets)), 0
    for step in plan.steps(0):
        ids = plan.batch(0, step)
        durations = np.asarray(plan.index.durations[ids], np.float32) / plan.speed_factors(0, ids)
        tokens = None if passes.tokens is None else np.asarray(passes.tokens[ids[:1]])
        bucket = int(buckets.of(durations[:1], tokens)[0])
        real[bucket] += durations.sum(dtype=np.float64)
        padded[bucket] += float(durations.max()) * len(ids)
        drawn += len(ids)
        if drawn >= DRAWN:
            break
    return real, padded
