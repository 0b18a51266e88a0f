"""Hypotheses as JSON lines: one object an utterance, raw text on both sides, read from any system.

Required: `utt_id` (or `audio_filepath`), `lang`, `text` (the reference), `pred_text`. Whatever else a line
carries is kept in `extra` and can be scored by.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class HypothesisError(ValueError):
    """A line that cannot be used; the message names file and line."""


@dataclass(kw_only=True)
class Hypothesis:
    """What a system wrote for one utterance, beside what was said."""

    utt_id: str
    lang: str
    text: str
    """The reference, as it stands in the corpus."""
    pred_text: str
    """The system's output, before any normalisation."""
    duration: float | None = None
    """Seconds of audio."""
    elapsed: float | None = None
    """Seconds of work for this utterance (its share of the batch)."""
    speaker: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Any other column of the line."""

    def column(self, name: str) -> str:
        """Returns the value of a column for grouping; an absent one is an empty string."""
        value = getattr(self, name) if name in _COLUMNS else self.extra.get(name)
        return "" if value is None else str(value)

    def to_json(self) -> str:
        """Returns the line, without its end; columns without a value are left out."""
        known = {name: getattr(self, name) for name in _COLUMNS}
        row = {name: value for name, value in known.items() if value is not None} | self.extra
        return json.dumps(row, ensure_ascii=False)


_COLUMNS = ("utt_id", "lang", "text", "pred_text", "duration", "elapsed", "speaker")
_TEXTS = ("utt_id", "lang", "text", "pred_text")


def read_hypotheses(path: str | os.PathLike[str], default_lang: str | None = None) -> list[Hypothesis]:
    """Returns the hypotheses of a JSON lines file.

    Args:
        path: the file.
        default_lang: the language of lines that name none.
    """
    lines_of: dict[str, int] = {}
    rows = []
    for number, hypothesis in _numbered(Path(path), default_lang):
        first = lines_of.setdefault(hypothesis.utt_id, number)
        if first != number:
            raise HypothesisError(
                f"{path}:{number}: utt_id {hypothesis.utt_id!r} stands already on line {first}"
            )
        rows.append(hypothesis)
    if not rows:
        raise HypothesisError(f"{path}: no hypotheses in it, one JSON object a line was expected")
    return rows


def _numbered(path: Path, default_lang: str | None) -> Iterator[tuple[int, Hypothesis]]:
    if not path.is_file():
        raise HypothesisError(f"{path}: no such file; JSON lines made by `maya-eval run` were expected")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _parse(line, f"{path}:{number}", default_lang)


def _parse(line: bytes, where: str, default_lang: str | None) -> Hypothesis:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise HypothesisError(f"{where}: not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise HypothesisError(f"{where}: not a JSON object ({error.msg} at column {error.colno})") from error
    if not isinstance(row, dict):
        raise HypothesisError(f"{where}: a JSON object was expected, got {type(row).__name__}")
    row.setdefault("utt_id", row.get("audio_filepath"))
    row["lang"] = row.get("lang") or default_lang
    for name in _TEXTS:
        if not isinstance(row.get(name), str):
            raise HypothesisError(f"{where}: `{name}` must be a text, got {row.get(name)!r}")
    for name in ("duration", "elapsed"):
        if not isinstance(row.get(name), int | float | None):
            raise HypothesisError(f"{where}: `{name}` must be a number of seconds, got {row[name]!r}")
    known = {name: row.pop(name) for name in _COLUMNS if name in row}
    return Hypothesis(**known, extra=row)


def write_hypotheses(path: str | os.PathLike[str], rows: Iterable[Hypothesis]) -> None:
    """Writes the rows as JSON lines; the file appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8") as file:
        file.writelines(row.to_json() + "\n" for row in rows)
    unfinished.replace(path)
