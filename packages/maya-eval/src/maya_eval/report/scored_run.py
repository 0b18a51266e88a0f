"""What a report is made of: the utterances of some systems, counted once, and the rows made of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from maya_eval.hypotheses import Hypothesis
from maya_eval.measures import choose
from maya_eval.normalize import profile as find_profile
from maya_eval.report.published import profile_on
from maya_eval.scores import HEADLINE, Scored, ScoreRow, count, rows_by
from maya_eval.speed import Speed

MADE_BY = "maya-eval report"
VERSIONS = ("maya-eval", "torch", "rapidfuzz", "numpy")


@dataclass(frozen=True)
class ScoredRun:
    """The utterances of some systems, counted under one profile, and what is made of them (once)."""

    scored: Mapping[str, Sequence[Scored]]
    """By system, in the order to show."""
    profile: str = HEADLINE
    further: Sequence[str] = ()
    """Profiles whose rows are added; that of a benchmark's published figures is added by itself."""

    @cached_property
    def benchmarks(self) -> tuple[str, ...]:
        """What the column `benchmark` says, one empty name where no line has one."""
        named = (item.hypothesis.column("benchmark") for items in self.scored.values() for item in items)
        return tuple(dict.fromkeys(named))

    def on(self, benchmark: str) -> dict[str, list[Scored]]:
        """Returns the utterances of one benchmark by system."""
        return {
            system: [item for item in items if item.hypothesis.column("benchmark") == benchmark]
            for system, items in self.scored.items()
        }

    @cached_property
    def rows(self) -> dict[str, dict[str, list[ScoreRow]]]:
        """Rows by language under the headline profile, with every measure: benchmark -> system -> rows."""
        measures = choose(["all"])
        return {
            name: {
                system: rows_by(items, self.profile, measures=measures)
                for system, items in self.on(name).items()
            }
            for name in self.benchmarks
        }

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of a `summary.json`."""
        rows = [line for name in self.benchmarks for line in self._lines(name)]
        lines = {system: [item.hypothesis for item in items] for system, items in self.scored.items()}
        speeds = {system: speed(hypotheses).rtfx for system, hypotheses in lines.items()}
        return {
            "made_by": MADE_BY,
            "rows": rows,
            "rtf": {system: round(1 / rtfx, 4) for system, rtfx in speeds.items() if rtfx},
            "versions": _versions(),
        }

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        for system, rows in self.rows[name].items():
            yield from (_line(name, system, row) for row in rows)
        for profile in dict.fromkeys([*self.further, profile_on(name)]):
            if profile and profile != self.profile:
                for system, items in self.on(name).items():
                    yield from (_line(name, system, row) for row in _under(profile, items))


def _under(profile: str, items: Sequence[Scored]) -> list[ScoreRow]:
    """Returns the rows of another profile, of the languages that it has rules for."""
    found = find_profile(profile)
    chosen = [item.hypothesis for item in items if found.covers(item.hypothesis.lang)]
    return rows_by(count(chosen, profile), profile)


def _line(benchmark: str, system: str, row: ScoreRow) -> dict[str, Any]:
    named = {"benchmark": benchmark} if benchmark else {}
    return {**named, "head": system, "split": "test", **row.to_dict("lang")}


def speed(rows: Iterable[Hypothesis]) -> Speed:
    """Returns how fast a system was over its lines."""
    found = Speed()
    for row in rows:
        found.add(row)
    return found


def conditions(measured: Speed) -> str:
    """Returns how the speed was measured, as far as the lines say: batch size, precision, device, warm-up."""
    return ", ".join(
        f"{name.replace('_', ' ')} {', '.join(values)}" for name, values in measured.settings.items()
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
