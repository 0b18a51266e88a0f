"""A run's `summary.json`, read once and handed to the terminal table and the HTML report alike.

Layout: `{"rows": [{"lang", "head", "split": "test"|"control", "wer", "cer", "utterances"}, ...],
"seconds": {stage: s}, "peak_gib": x, "versions": {...}}`, rates as fractions. Optional: `"rtf": {head: x}`,
the seconds of work a second of audio; in rows also `benchmark`, `profile`, `wer_low` and `wer_high`.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEAD_ORDER = ("ctc", "rnnt", "llm")


@dataclass(frozen=True)
class Cell:
    """One rate pair: a head in a language, or a mean over languages."""

    wer: float | None
    cer: float | None
    utterances: int
    low: float | None = None
    """Lower end of the interval of the WER."""
    high: float | None = None


@dataclass(frozen=True)
class Summary:
    """The table of a run on one benchmark, addressable by split, head and language."""

    cells: dict[tuple[str, str, str], Cell]
    seconds: dict[str, float] = field(default_factory=dict)
    peak_gib: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    rtf: dict[str, float] = field(default_factory=dict)
    benchmark: str = ""
    profile: str = ""
    """Of the cells; the profile of the first row."""
    others: dict[str, dict[tuple[str, str], Cell]] = field(default_factory=dict)
    """Test cells of further profiles: profile -> (head, lang) -> cell."""

    @property
    def langs(self) -> list[str]:
        """Languages of the test split, in alphabetical order of their codes."""
        return sorted({lang for split, _, lang in self.cells if split == "test"})

    @property
    def heads(self) -> list[str]:
        """Heads of the test split: ctc, rnnt, llm, then any other in the order of the rows."""
        return head_order(dict.fromkeys(head for split, head, _ in self.cells if split == "test"))

    def cell(self, head: str, lang: str, split: str = "test") -> Cell | None:
        """Returns one cell, None where nothing was scored."""
        return self.cells.get((split, head, lang))

    def mean(self, head: str, split: str = "test") -> Cell | None:
        """Returns the plain mean over the languages that have this head."""
        return mean_of(c for (s, h, _), c in self.cells.items() if (s, h) == (split, head))


def head_order(heads: Iterable[str]) -> list[str]:
    """Returns the heads in the order in which they are shown."""
    seen = list(heads)
    return [h for h in HEAD_ORDER if h in seen] + [h for h in seen if h not in HEAD_ORDER]


def mean_of(cells: Iterable[Cell]) -> Cell | None:
    """Returns the plain mean of cells; None of none."""
    found = list(cells)
    if not found:
        return None
    return Cell(_mean(c.wer for c in found), _mean(c.cer for c in found), sum(c.utterances for c in found))


def benchmarks_of(data: Mapping[str, Any]) -> list[str]:
    """Returns the benchmarks that the rows name, in their order; one empty name where they name none."""
    return list(dict.fromkeys(str(row.get("benchmark") or "") for row in data.get("rows", [])))


def parse_summary(data: Mapping[str, Any], benchmark: str | None = None) -> Summary:
    """Returns the summary of a parsed `summary.json`.

    Args:
        data: the parsed file.
        benchmark: whose rows; None where the file holds one benchmark only.
    """
    named = benchmarks_of(data)
    if not named:
        raise ValueError("the summary has no `rows`, so there is nothing to show")
    if benchmark is None and len(named) > 1:
        raise ValueError(f"the summary holds several benchmarks, choose one: {', '.join(named)}")
    rows = [row for row in data["rows"] if benchmark is None or (row.get("benchmark") or "") == benchmark]
    cells, others, profile = _cells(rows)
    if not cells:
        raise ValueError(f"the summary has no rows of the benchmark {benchmark!r}")
    return Summary(
        cells=cells,
        seconds=dict(data.get("seconds") or {}),
        peak_gib=data.get("peak_gib"),
        versions={name: str(version) for name, version in (data.get("versions") or {}).items()},
        rtf=dict(data.get("rtf") or {}),
        benchmark=benchmark if benchmark is not None else named[0],
        profile=profile,
        others=others,
    )


def _cells(
    rows: Iterable[Mapping[str, Any]],
) -> tuple[dict[tuple[str, str, str], Cell], dict[str, dict[tuple[str, str], Cell]], str]:
    """Returns the cells of the first row's profile, those of the other profiles, and that profile."""
    cells: dict[tuple[str, str, str], Cell] = {}
    others: dict[str, dict[tuple[str, str], Cell]] = {}
    headline: str | None = None
    for row in rows:
        profile = str(row.get("profile") or "")
        headline = profile if headline is None else headline
        try:
            key = row.get("split", "test"), row["head"], row["lang"]
            cell = Cell(row["wer"], row["cer"], row["utterances"], row.get("wer_low"), row.get("wer_high"))
        except KeyError as error:
            raise ValueError(f"a row of the summary has no {error.args[0]!r}: {row}") from error
        if profile == headline:
            cells[key] = cell
        elif key[0] == "test":
            others.setdefault(profile, {})[key[1], key[2]] = cell
    return cells, others, headline or ""


def read_summary(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the parsed file; what cannot be read is named."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; the summary.json of a run was expected")
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error.msg} on line {error.lineno})") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a JSON object was expected, got {type(data).__name__}")
    return data


def clock(seconds: float) -> str:
    """Returns a duration as people say it: 8.4 s, 3 min 05 s, 1 h 02 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def percent(rate: float | None, digits: int = 1) -> str:
    """Returns a fraction as a percentage without its sign; a dash where there is none."""
    return "-" if rate is None else f"{100 * rate:.{digits}f}"


def rates(cell: Cell | None) -> tuple[float | None, float | None]:
    """Returns WER and CER of a cell, twice None where nothing was scored."""
    return (cell.wer, cell.cer) if cell else (None, None)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
