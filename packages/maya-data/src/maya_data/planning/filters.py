"""Which segments may be trained on, rule by rule, and how much each rule removes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from maya_data.indexing.flags import BAD_DURATION, EMPTY_TEXT, NO_AUDIO, UNKNOWN_LANG, WRONG_SCRIPT
from maya_data.planning.keep_list import keep_rows

CHUNK = 1 << 19
"""Segments looked at at once."""
LATEST = "latest"

Bools = npt.NDArray[np.bool_]


@dataclass(kw_only=True)
class FilterConfig:
    """What a segment must be like to be trained on."""

    min_duration: float = 0.01
    """Seconds; shorter segments are left out."""
    max_duration: float = 40.0
    """Seconds; longer segments are left out."""
    max_chars_per_second: float | None = None
    """Segments with more characters of raw text a second are left out; null: no limit."""
    langs: list[str] | None = None
    """Languages to take; null takes all."""
    corpora: list[str] | None = None
    """Corpora to take; null takes all."""
    wrong_script: Literal["keep", "drop"] = "keep"
    """What becomes of texts that are mostly written in another script than their language's."""
    quarantine: int | str | None = None
    """Version of the index's quarantine that is left out; `latest`: the newest; null: none."""
    keep: str | None = None
    """List of the segments that alone are taken, as `maya-train score` writes it; null takes all."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if not 0 < self.min_duration <= self.max_duration:
            raise ValueError(
                f"`min_duration` must be above 0 and at most `max_duration`, got {self.min_duration} "
                f"and {self.max_duration}"
            )
        if self.max_chars_per_second is not None and not self.max_chars_per_second > 0:
            raise ValueError(f"`max_chars_per_second` must be above 0, got {self.max_chars_per_second}")
        if self.wrong_script not in ("keep", "drop"):
            raise ValueError(f"`wrong_script` must be keep or drop, got {self.wrong_script!r}")
        for name in ("langs", "corpora"):
            if getattr(self, name) is not None and not getattr(self, name):
                raise ValueError(f"`{name}` must name at least one, or be null for all")
        if not _is_version(self.quarantine):
            raise ValueError(
                f"`quarantine` must be null, {LATEST!r} or a version number, got {self.quarantine!r}"
            )


def _is_version(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and value >= 0
    return value is None or value == LATEST


class Rule(NamedTuple):
    """One reason for which a segment is left out."""

    name: str
    drops: Callable[[slice], Bools]
    """Rows -> where this rule leaves a segment out."""


@dataclass(frozen=True)
class RemovedBy:
    """What one rule removes of what the rules before it have left."""

    rule: str
    segments: int
    hours: float


@dataclass(frozen=True)
class FilterReport:
    """What a filter does to an index."""

    segments: int
    """Segments that are left."""
    hours: float
    """Hours that are left."""
    removed: list[RemovedBy]
    """One line a rule, in the order in which they are applied."""

    def __str__(self) -> str:
        lines = [f"{each.segments:,} by {each.rule}" for each in self.removed if each.segments]
        return f"{self.segments:,} segments are left; removed: {', '.join(lines) or 'none'}"


def resolve(index: Any, config: FilterConfig) -> FilterConfig:
    """Return `config` with the number of the quarantine's version in place of `latest`."""
    if config.quarantine != LATEST:
        return config
    from maya_data.loading.mask import latest_version

    return replace(config, quarantine=latest_version(index.path))


class Filter:
    """A filter over one index."""

    def __init__(self, index: Any, config: FilterConfig):
        """Look the names up; `index` is a SegmentIndex.

        Raises:
            ValueError: A language or corpus is not in the index, or there is no such quarantine.
        """
        self.index, self.config = index, resolve(index, config)
        self.rules = [*_damage(index), *_limits(index, self.config), *_choices(index, self.config)]

    def kept(self, rows: slice) -> Bools:
        """Return which segments of a range are left."""
        out = self.rules[0].drops(rows)
        for rule in self.rules[1:]:
            out |= rule.drops(rows)
        return ~out

    def report(self) -> FilterReport:
        """Count what each rule removes."""
        segments, seconds = np.zeros(len(self.rules) + 1, np.int64), np.zeros(len(self.rules) + 1)
        for rows in ranges(len(self.index.durations)):
            durations = np.asarray(self.index.durations[rows], np.float64)
            durations = np.where(np.isfinite(durations) & (durations > 0), durations, 0.0)
            first = np.full(len(durations), len(self.rules))
            for number, rule in reversed(list(enumerate(self.rules))):
                first[rule.drops(rows)] = number
            segments += np.bincount(first, minlength=len(segments))
            seconds += np.bincount(first, durations, len(seconds))
        hours = (seconds / 3600).tolist()
        removed = [
            RemovedBy(rule.name, int(n), h) for rule, n, h in zip(self.rules, segments, hours, strict=False)
        ]
        return FilterReport(int(segments[-1]), hours[-1], removed)


def kept(index: Any, config: FilterConfig | None = None) -> Bools:
    """Return which segments of a whole index are left (N,)."""
    chosen = Filter(index, config or FilterConfig())
    parts = [chosen.kept(rows) for rows in ranges(len(index.durations))]
    return np.concatenate(parts) if parts else np.zeros(0, np.bool_)


def ranges(length: int) -> Iterator[slice]:
    """Yield the chunks of an index of `length` segments."""
    return (slice(start, min(start + CHUNK, length)) for start in range(0, length, CHUNK))


def _damage(index: Any) -> Iterator[Rule]:
    """Yield the rules that no setting turns off."""
    flags = index.columns["flags"]
    for bit, name in (
        (BAD_DURATION, "duration not above 0"),
        (EMPTY_TEXT, "empty transcript"),
        (NO_AUDIO, "no audio"),
        (UNKNOWN_LANG, "unknown language"),
    ):
        yield Rule(name, lambda rows, bit=bit: (flags[rows] & np.uint8(bit)) != 0)  # type: ignore[misc]


def _limits(index: Any, config: FilterConfig) -> Iterator[Rule]:
    durations, shortest, longest = index.durations, config.min_duration, config.max_duration
    yield Rule(f"min_duration {shortest} s", lambda rows: durations[rows] < shortest)
    yield Rule(f"max_duration {longest} s", lambda rows: ~(durations[rows] <= longest))
    if (fastest := config.max_chars_per_second) is not None:
        chars = index.columns["chars"]
        yield Rule(
            f"max_chars_per_second {fastest}",
            lambda rows: chars[rows] > np.float64(fastest) * durations[rows],
        )


def _choices(index: Any, config: FilterConfig) -> Iterator[Rule]:
    flags = index.columns["flags"]
    for setting, column, wanted in (("langs", "lang", config.langs), ("corpora", "corpus", config.corpora)):
        if wanted is not None:
            yield _names(index, setting, column, wanted)
    if config.wrong_script == "drop":
        yield Rule("wrong_script", lambda rows: (flags[rows] & np.uint8(WRONG_SCRIPT)) != 0)
    if version := config.quarantine:
        from maya_data.loading.mask import quarantined_rows

        yield _quarantine(quarantined_rows(index, int(version)), int(version))
    if config.keep is not None:
        rows = keep_rows(config.keep, index)
        yield Rule("keep", lambda chunk: ~_are_in(rows, chunk))


def _names(index: Any, setting: str, column: str, wanted: Sequence[str]) -> Rule:
    """Return the rule that takes only some names of a column."""
    names = list(index.langs if column == "lang" else index.names(column))
    if unknown := [name for name in wanted if name not in names]:
        raise ValueError(f"`{setting}` has {unknown[0]!r}; the index has: {', '.join(names)}")
    foreign = ~np.isin(names, wanted)
    numbers = index.columns[column]
    return Rule(f"{setting} {' '.join(wanted)}", lambda rows: foreign[numbers[rows]])


def _quarantine(bad: npt.NDArray[np.int64], version: int) -> Rule:
    """Return the rule that leaves out rows; they rise."""
    return Rule(f"quarantine {version}", lambda rows: _are_in(bad, rows))


def _are_in(chosen: npt.NDArray[np.int64], rows: slice) -> Bools:
    """Return which segments of a range are among some, which rise."""
    out = np.zeros(rows.stop - rows.start, np.bool_)
    first, last = np.searchsorted(chosen, (rows.start, rows.stop))
    out[chosen[first:last] - rows.start] = True
    return out
