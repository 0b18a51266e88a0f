"""Which segments are in which batch: a pure function of seed, epoch and position.

Segments lie in cells of (duration bin, language). An epoch takes an exact number from every cell, permutes
them within their bin, and cuts each bin into groups of `sync_width` batches; the groups of all bins are
permuted. Nothing is stored but the order of segments by cell, so any step of any epoch is found at once.

No batch is empty: where a bin's segments do not suffice for its last group, that group is not made, and every
epoch leaves other segments out.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from maya_data.bins import Shape, assign
from maya_data.mix import MixConfig, repeats, usable
from maya_data.permutation import key, permute
from maya_data.segments import SegmentIndex

CHUNK = 64
"""Groups computed at once."""
GROUP_KEY, BIN_KEY, CELL_KEY = 1, 2, 3

Ints = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class PlanConfig:
    """What a batch is, and what an epoch holds."""

    seed: int = 0
    """Chooses all permutations."""
    batch_duration: float = 20.0
    """Seconds of padded audio in the batch of one rank."""
    max_batch_size: int | None = None
    """Most utterances in a batch."""
    sync_width: int = 1
    """Batches of one duration bin that stand together; the number of ranks must divide it."""
    shuffle: bool = True
    """False goes from short to long, for debugging."""
    min_duration: float = 0.01
    """Seconds; shorter segments are left out."""
    max_duration: float = 40.0
    """Seconds; longer segments are left out."""
    langs: list[str] | None = None
    """Languages to take; null takes all."""
    mix: MixConfig = field(default_factory=MixConfig)
    """Balance of languages."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if self.batch_duration <= 0:
            raise ValueError(f"`batch_duration` must be above 0, got {self.batch_duration}")
        if self.max_batch_size is not None and self.max_batch_size < 1:
            raise ValueError(f"`max_batch_size` must be 1 or more, got {self.max_batch_size}")
        if self.sync_width < 1:
            raise ValueError(f"`sync_width` must be 1 or more, got {self.sync_width}")
        if not 0 < self.min_duration <= self.max_duration:
            raise ValueError(
                f"`min_duration` must be above 0 and at most `max_duration`, got {self.min_duration} "
                f"and {self.max_duration}"
            )


class Plan:
    """The batches of every epoch over one index."""

    def __init__(self, index: SegmentIndex, config: PlanConfig):
        """Sort the usable segments into cells; this is all that the plan stores."""
        self.config = config
        text = json.dumps([index.fingerprint, asdict(config)], sort_keys=True)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:32]
        shape = Shape(config.batch_duration, config.max_batch_size, config.sync_width)
        ids, lang_ids, durations = _chosen(index, config)
        ratios = _ratios(lang_ids, durations, index.langs, config.mix)
        bins = assign(durations, ratios[lang_ids], shape)
        order = np.lexsort((lang_ids, bins))
        self._order = ids[order]  # (N,) by bin, then language
        grid = (int(bins.max()) + 1, len(index.langs))
        counts = np.bincount(bins * grid[1] + lang_ids, minlength=grid[0] * grid[1]).reshape(grid)
        taken = _taken(counts, ratios)
        self._cell_counts, self._cell_taken = counts.ravel(), taken.ravel()
        self._cell_starts = _starts(self._cell_counts)
        self._cell_taken_starts = _starts(self._cell_taken)
        self._bin_taken = taken.sum(1)
        self._bin_taken_starts = _starts(self._bin_taken)
        longest = np.maximum.reduceat(durations[order], _starts(counts.sum(1)))
        sizes = np.array([shape.size(float(duration)) for duration in longest])
        self._bin_groups = np.minimum(
            -(-self._bin_taken // (sizes * shape.sync_width)), self._bin_taken // shape.sync_width
        )
        self._bin_used = np.minimum(self._bin_taken, self._bin_groups * sizes * shape.sync_width)
        self._group_starts = _starts(self._bin_groups)
        self.num_groups = int(self._bin_groups.sum())
        self._cached: tuple[tuple[int, int], tuple[Ints, Ints]] | None = None
        if not self.num_groups:
            raise ValueError(
                f"an epoch of {int(taken.sum())} segments fills no group of {config.sync_width} batches"
            )

    @property
    def num_segments(self) -> int:
        """Segments of an epoch, repeats counted."""
        return int(self._bin_used.sum())

    def num_steps(self, world_size: int = 1) -> int:
        """Return the steps of one rank in an epoch; it is the same for all ranks and epochs."""
        return self.num_groups * self._steps_a_group(world_size)

    def group(self, epoch: int, g: int) -> list[Ints]:
        """Return the segment numbers of the `sync_width` batches of group `g`."""
        if not 0 <= g < self.num_groups:
            raise IndexError(f"group {g} is outside the epoch's {self.num_groups} groups")
        chunk = g // CHUNK
        if self._cached is None or self._cached[0] != (epoch, chunk):
            groups = np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, self.num_groups))
            self._cached = (epoch, chunk), self._compute(epoch, groups)
        ids, bounds = self._cached[1]
        row = bounds[g % CHUNK]
        return [ids[row[i] : row[i + 1]] for i in range(self.config.sync_width)]

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Ints:
        """Return the segment numbers of one rank's batch; `step` counts from 0 over epochs without end."""
        a_group = self._steps_a_group(world_size)
        epoch, g = divmod(step // a_group, self.num_groups)
        return self.group(epoch, g)[step % a_group * world_size + rank]

    def _steps_a_group(self, world_size: int) -> int:
        if world_size < 1 or self.config.sync_width % world_size:
            raise ValueError(
                f"`sync_width` must be a multiple of the number of ranks, got {self.config.sync_width} "
                f"for {world_size} ranks"
            )
        return self.config.sync_width // world_size

    def _compute(self, epoch: int, groups: Ints) -> tuple[Ints, Ints]:
        """Return the segments of `groups` in a row, and where each batch begins (G, sync_width + 1)."""
        groups = self._permute(groups, self.num_groups, key(self.config.seed, GROUP_KEY, epoch))
        bins = np.searchsorted(self._group_starts, groups, side="right") - 1  # (G,)
        width = self.config.sync_width
        batches = (groups - self._group_starts[bins])[:, None] * width + np.arange(
            width + 1
        )  # (G, sync_width + 1)
        bounds = batches * self._bin_used[bins][:, None] // (self._bin_groups[bins] * width)[:, None]
        lengths = bounds[:, -1] - bounds[:, 0]
        ends = np.cumsum(lengths)
        positions = np.arange(int(ends[-1])) - np.repeat(ends - lengths - bounds[:, 0], lengths)
        ids = self._segments(epoch, np.repeat(bins, lengths), positions)
        return ids, bounds - bounds[:, :1] + (ends - lengths)[:, None]

    def _segments(self, epoch: int, bins: Ints, positions: Ints) -> Ints:
        """Return the segment at each position of its bin, all (M,)."""
        seed = self.config.seed
        positions = self._permute(positions, self._bin_taken[bins], key(seed, BIN_KEY, epoch, bins))
        positions = positions + self._bin_taken_starts[bins]
        cells = np.searchsorted(self._cell_taken_starts, positions, side="right") - 1
        heard = epoch * self._cell_taken[cells] + positions - self._cell_taken_starts[cells]
        rounds, places = np.divmod(heard, self._cell_counts[cells])
        places = self._permute(places, self._cell_counts[cells], key(seed, CELL_KEY, cells, rounds))
        segments: Ints = self._order[self._cell_starts[cells] + places]
        return segments

    def _permute(self, positions: Ints, size: npt.ArrayLike, keys: npt.ArrayLike) -> Ints:
        return permute(positions, size, keys) if self.config.shuffle else positions


def _chosen(index: SegmentIndex, config: PlanConfig) -> tuple[Ints, Ints, npt.NDArray[np.float32]]:
    """Return the segments that the filters leave, with their languages and durations."""
    keep = usable(index, config.min_duration, config.max_duration)
    if config.langs is not None:
        if unknown := [lang for lang in config.langs if lang not in index.langs]:
            raise ValueError(f"`langs` has {unknown[0]!r}; the index has: {', '.join(index.langs)}")
        keep &= np.isin(index.lang_ids, [index.langs.index(lang) for lang in config.langs])
    ids = np.flatnonzero(keep)
    if not len(ids):
        raise ValueError(
            f"no segment of {index.path} is left: `min_duration` {config.min_duration}, `max_duration` "
            f"{config.max_duration}, `langs` {config.langs}"
        )
    return ids, np.asarray(index.lang_ids)[ids].astype(np.int64), np.asarray(index.durations)[ids]


def _ratios(
    lang_ids: Ints, durations: npt.NDArray[np.float32], langs: list[str], mix: MixConfig
) -> npt.NDArray[np.float64]:
    hours = np.bincount(lang_ids, durations.astype(np.float64), len(langs)) / 3600
    return repeats(hours, langs, mix)


def _taken(counts: Ints, ratios: npt.NDArray[np.float64]) -> Ints:
    """Return how many segments an epoch takes of each cell (bins, L): exact in sum for every language.

    A cell whose share rounds to none would never be heard: it gets one from the language's largest cell.
    """
    totals = np.rint(np.cumsum(counts * ratios, axis=0)).astype(np.int64)
    taken = np.diff(totals, axis=0, prepend=0)
    for lang in np.flatnonzero(((counts > 0) & (taken == 0)).any(0) & (ratios > 0)):
        column = taken[:, lang]
        for cell in np.flatnonzero((counts[:, lang] > 0) & (column == 0)):
            if column.max() > 1:
                column[column.argmax()] -= 1
                column[cell] = 1
    taken[counts == 0] = 0
    return taken


def _starts(lengths: Ints) -> Ints:
    return np.cumsum(lengths) - lengths
