"""A run's `summary.json`, read once and handed to the terminal table and the HTML report alike.

Layout: `{"rows": [{"lang", "head", "split": "test"|"control", "wer", "cer", "utterances"}, ...],
"seconds": {stage: s}, "peak_gib": x, "versions": {...}}`, rates as fractions. Optional: `"rtf": {head: x}`,
the seconds of work a second of audio.
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


@dataclass(frozen=True)
class Summary:
    """The table of a run, addressable by split, head and language."""

    cells: dict[tuple[str, str, str], Cell]
    seconds: dict[str, float] = field(default_factory=dict)
    peak_gib: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    rtf: dict[str, float] = field(default_factory=dict)

    @property
    def langs(self) -> list[str]:
        """Languages of the test split, in alphabetical order of their codes."""
        return sorted({lang for split, _, lang in self.cells if split == "test"})

    @property
    def heads(self) -> list[str]:
        """Heads of the test split: ctc, rnnt, llm, then any other in the order of the rows."""
        seen = dict.fromkeys(head for split, head, _ in self.cells if split == "test")
        return [h for h in HEAD_ORDER if h in seen] + [h for h in seen if h not in HEAD_ORDER]

    def cell(self, head: str, lang: str, split: str = "test") -> Cell | None:
        """Returns one cell, None where nothing was scored."""
        return self.cells.get((split, head, lang))

    def mean(self, head: str, split: str = "test") -> Cell | None:
        """Returns the plain mean over the languages that have this head."""
        cells = [c for (s, h, _), c in self.cells.items() if (s, h) == (split, head)]
        if not cells:
            return None
        return Cell(
            _mean(c.wer for c in cells), _mean(c.cer for c in cells), sum(c.utterances for c in cells)
        )


def parse_summary(data: Mapping[str, Any]) -> Summary:
    """Returns the summary of a parsed `summary.json`."""
    cells = {}
    for row in data.get("rows", []):
        try:
            key = row.get("split", "test"), row["head"], row["lang"]
            cells[key] = Cell(row["wer"], row["cer"], row["utterances"])
        except KeyError as error:
            raise ValueError(f"a row of the summary has no {error.args[0]!r}: {row}") from error
    if not cells:
        raise ValueError("the summary has no `rows`, so there is nothing to show")
    return Summary(
        cells=cells,
        seconds=dict(data.get("seconds") or {}),
        peak_gib=data.get("peak_gib"),
        versions={name: str(version) for name, version in (data.get("versions") or {}).items()},
        rtf=dict(data.get("rtf") or {}),
    )


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
