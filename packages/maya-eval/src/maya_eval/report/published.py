"""Published results of other systems: `baselines.csv`, with the source and the recipe of every figure."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

AVERAGES = ("avg", "avg10", "avg12", "multi")
"""In place of a language: left out of tables, whose means are made of their own rows."""

SAME_RECORDINGS = {
    "librispeech-clean": ("librispeech-clean", "openasr/ls clean"),
    "librispeech-other": ("librispeech-other", "openasr/ls other"),
}
"""What the figures call a benchmark, where they have several names for it."""


@dataclass(frozen=True)
class Published:
    """One figure of somebody else."""

    system: str
    benchmark: str
    language: str
    metric: str
    value: float
    """As published: per cent, or RTFx."""
    profile: str
    """Our scoring profile that equals the recipe behind it; empty where none is known to."""
    source: str
    verification: str
    """How far the figure was checked against its source."""
    note: str


@cache
def baselines() -> tuple[Published, ...]:
    """Returns every published figure that is shipped, averages left out."""
    text = files("maya_eval.report").joinpath("baselines.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(
        Published(**{**row, "value": float(row["value"])})  # type: ignore[arg-type]
        for row in rows
        if row["language"] not in AVERAGES and row["metric"] in ("WER", "CER", "RTFx")
    )


def on_benchmark(benchmark: str, metric: str = "WER") -> dict[str, dict[str, Published]]:
    """Returns system -> language -> figure for a benchmark; the first of two that disagree counts."""
    found: dict[str, dict[str, Published]] = {}
    for item in baselines():
        if item.benchmark.casefold() in _names(benchmark) and item.metric == metric:
            found.setdefault(item.system, {}).setdefault(item.language, item)
    return found


def _names(benchmark: str) -> tuple[str, ...]:
    return SAME_RECORDINGS.get(benchmark.casefold(), (benchmark.casefold(),))


def is_one_of(benchmark: str, shown: Iterable[str]) -> bool:
    """Whether the figures' name of a benchmark is one of these benchmarks."""
    return any(benchmark.casefold() in _names(name) for name in shown)


def published_speeds(benchmark: str) -> dict[str, Published]:
    """Returns the RTFx by system: on the benchmark, or over all sets of the leaderboard it is part of."""
    boards = {name.partition("/")[0] for name in _names(benchmark) if "/" in name}
    found: dict[str, Published] = {}
    for name in (benchmark, *(f"{board}/all" for board in sorted(boards))):
        for system, by_lang in on_benchmark(name, "RTFx").items():
            found.setdefault(system, next(iter(by_lang.values())))
    return found


def benchmarks_with(langs: Iterable[str]) -> list[str]:
    """Returns the benchmarks that have a published WER in any of these languages, in the file's order."""
    wanted = set(langs)
    return list(
        dict.fromkeys(
            item.benchmark for item in baselines() if item.metric == "WER" and item.language in wanted
        )
    )


def profile_on(benchmark: str) -> str:
    """Returns the profile that a benchmark's published figures were made with; empty where unknown."""
    found = {item.profile for by_lang in on_benchmark(benchmark).values() for item in by_lang.values()}
    return next(iter(sorted(found - {""})), "")
