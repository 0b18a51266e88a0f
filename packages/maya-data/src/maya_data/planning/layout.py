"""The usable segments sorted into cells, one bucket and component each: all that a plan has to store.

Two passes over the segments, a chunk at a time: the first counts, the second puts each segment at its place,
so a plan of any size is built in bounded memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maya_data.planning.bins import Buckets, Shape, grid
from maya_data.planning.bucket_file import read_buckets
from maya_data.planning.mix import repeats
from maya_data.planning.permutation import hash64, key
from maya_data.planning.plan_config import PlanConfig
from maya_data.planning.quantiles import Quantiles, token_edges
from maya_data.planning.usable import Usable

SPEED_KEY = 4
NOBODY = np.uint32(0xFFFFFFFF)
"""Fills up the last block of a component."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Allocate = Callable[[str, int, Any], npt.NDArray[Any]]
"""Name, length and type -> an array to fill, in memory or in a file."""


@dataclass(frozen=True)
class Layout:
    """Segments by cell."""

    order: npt.NDArray[np.uint32]
    """Segment numbers by bucket, then component (N,); for `block` by component, in whole blocks."""
    counts: Ints
    """Segments of each cell (B, C); for `block` of each component (1, C)."""
    sizes: Ints
    """Most segments in a batch of each bucket (B,)."""
    ratios: Floats
    """How often an epoch goes through each component (C,)."""
    buckets: npt.NDArray[Any] | None = None
    """For `block`, the bucket of each place of `order`, B where nobody is."""


class Segments(NamedTuple):
    """Some usable segments as an epoch hears them."""

    rows: npt.NDArray[np.uint32]
    durations: npt.NDArray[np.float32]
    """Seconds, after the change of speed."""
    components: Ints
    tokens: npt.NDArray[np.uint16] | None


class Passes:
    """Goes through the usable segments of one phase of the speeds, as often as needed."""

    def __init__(self, usable: Usable, config: PlanConfig, phase: int):
        """Open the token counts.

        Raises:
            ValueError: The index has no token counts of that tokenizer.
        """
        self.usable, self.config, self.phase = usable, config, phase
        self.tokens = _token_counts(usable.index, config.tokenizer) if config.tokenizer else None
        self.ratios = repeats(usable.components, usable.hours, usable.counts, config.mix)
        self.shortest = float(np.float32(usable.shortest) / np.float32(max(config.speeds)))
        self.longest = float(np.float32(usable.longest) / np.float32(min(config.speeds)))

    def __iter__(self) -> Iterator[Segments]:
        for rows, durations, components in self.usable.chunks():
            tokens = None if self.tokens is None else np.asarray(self.tokens[rows])
            yield Segments(rows, self._heard(rows, durations), components, tokens)

    def weighted(self) -> Iterator[tuple[npt.NDArray[np.float32], Floats]]:
        """Yield durations, and how often an epoch hears each."""
        return ((each.durations, self.ratios[each.components]) for each in self)

    def _heard(
        self, rows: npt.NDArray[np.uint32], durations: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        if self.config.speeds == (1.0,):
            return durations
        return durations / speed_factors(self.config, self.phase, rows)


def speed_factors(config: PlanConfig, epoch: int, rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the factor of speed of each segment in an epoch (M,); all factors take their turn."""
    speeds = np.array(config.speeds, np.float32)
    if len(speeds) == 1:
        return np.full(np.shape(rows), speeds[0])
    drawn = hash64(key(config.seed, SPEED_KEY) ^ hash64(np.asarray(rows).astype(np.uint64)))
    number = len(speeds)
    factors: npt.NDArray[np.float32] = speeds[
        (drawn % np.uint64(number) + np.uint64(epoch % number)) % np.uint64(number)
    ]
    return factors


def _token_counts(index: Any, tokenizer: str) -> npt.NDArray[np.uint16]:
    from maya_data.indexing.tokens import tokenizer_hash

    known = len(tokenizer) == 16 and all(letter in "0123456789abcdef" for letter in tokenizer)
    digest = tokenizer if known else tokenizer_hash(tokenizer)
    if (counts := index.token_counts(digest)) is None:
        raise ValueError(
            f"{index.path} has no token counts of `tokenizer` {tokenizer}; "
            f"make them with `maya-data bins {index.path} --tokenizer MODEL`"
        )
    tokens: npt.NDArray[np.uint16] = counts
    return tokens


def choose_buckets(passes: Passes) -> Buckets:
    """Return the buckets that the settings ask for.

    Raises:
        ValueError: `buckets_file` does not fit the segments.
    """
    config, shape = passes.config, shape_of(passes.config)
    if config.buckets_file is not None:
        return _from_file(passes)
    if config.num_buckets is None:
        return grid(passes.weighted(), passes.shortest, passes.longest, shape)
    made = Quantiles(passes.shortest, passes.longest).add(passes.weighted())
    edges = made.edges(config.num_buckets)
    sizes = np.array([shape.size(float(edge)) for edge in edges])
    buckets = Buckets(edges, np.arange(len(edges)), sizes)
    return buckets if config.tokenizer is None else _cut_by_tokens(passes, buckets)


def shape_of(config: PlanConfig) -> Shape:
    """Return what a batch may hold."""
    return Shape(config.batch_duration, config.max_batch_size, config.sync_width)


def _cut_by_tokens(passes: Passes, buckets: Buckets) -> Buckets:
    config = passes.config
    chunks = ((buckets.of(each.durations), each.tokens) for each in passes if each.tokens is not None)
    tokens = token_edges(chunks, len(buckets), config.token_buckets)
    sizes = np.repeat(buckets.sizes, config.token_buckets)
    if config.batch_tokens is not None:
        sizes = np.clip(config.batch_tokens // np.maximum(tokens.ravel(), 1), 1, sizes)
    return Buckets(buckets.edges, buckets.bins, sizes, tokens)


def _from_file(passes: Passes) -> Buckets:
    config, longest = passes.config, passes.longest
    assert config.buckets_file is not None
    buckets = read_buckets(config.buckets_file)
    if longest > buckets.edges[-1] * (1 + 1e-6):
        raise ValueError(
            f"`buckets_file` {config.buckets_file} ends at {buckets.edges[-1]:g} s, but segments last up to "
            f"{longest:g} s; set `filter.max_duration` or measure longer batches"
        )
    if buckets.token_edges is not None and config.tokenizer is None:
        raise ValueError(f"`buckets_file` {config.buckets_file} cuts by tokens: set `tokenizer`")
    return buckets


def build_layout(passes: Passes, allocate: Allocate) -> Layout:
    """Sort the segments into cells."""
    buckets = choose_buckets(passes)
    if passes.config.shuffle == "block":
        return _build_blocks(passes, buckets, allocate)
    components = len(passes.ratios)
    counts, cells = np.zeros(len(buckets) * components, np.int64), list[Ints]()
    for each in passes:
        cells.append(_cells(each, buckets, components))
        counts += np.bincount(cells[-1], minlength=len(counts))
        if not passes.usable.in_memory:
            cells.clear()
    order, free = allocate("order", int(counts.sum()), np.uint32), np.cumsum(counts) - counts
    for number, each in enumerate(passes):
        mine = cells[number] if cells else _cells(each, buckets, components)
        sorting, targets = _targets(mine, free)
        order[targets] = each.rows[sorting]
    return Layout(order, counts.reshape(-1, components), buckets.sizes, passes.ratios)


def _build_blocks(passes: Passes, buckets: Buckets, allocate: Allocate) -> Layout:
    """Sort the segments by component alone; each component has whole blocks, the last filled up."""
    counts, block = passes.usable.counts, passes.config.block
    room = -(-counts // block) * block
    order, places = (
        allocate("order", int(room.sum()), np.uint32),
        allocate("buckets", int(room.sum()), np.min_scalar_type(len(buckets))),
    )
    order[:], places[:] = NOBODY, len(buckets)
    free = np.cumsum(room) - room
    for each in passes:
        sorting, targets = _targets(each.components, free)
        order[targets] = each.rows[sorting]
        places[targets] = buckets.of(each.durations, each.tokens)[sorting]
    return Layout(order, counts[None], buckets.sizes, passes.ratios, places)


def _cells(segments: Segments, buckets: Buckets, components: int) -> Ints:
    return buckets.of(segments.durations, segments.tokens) * components + segments.components


def _targets(cells: Ints, free: Ints) -> tuple[Ints, Ints]:
    """Return an order of some segments by cell, and their places; `free`, the next of each cell, moves on."""
    if len(free) <= 1 << 16:
        sorting = np.argsort(cells.astype(np.uint16), kind="stable")  # a radix sort
    else:
        packed = np.sort(cells.astype(np.uint64) << np.uint64(32) | np.arange(len(cells), dtype=np.uint64))
        sorting = (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
    counts = np.bincount(cells, minlength=len(free))
    shift = free - (np.cumsum(counts) - counts)
    there = np.flatnonzero(counts)
    targets = np.arange(len(cells)) + np.repeat(shift[there], counts[there])
    free += counts
    return sorting, targets
