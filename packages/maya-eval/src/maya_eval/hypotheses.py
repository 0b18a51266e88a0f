"""Hypotheses as JSON lines: one object an utterance, raw text on both sides, read from any system.

Required: `utt_id` (or `audio_filepath`), `lang`, `text` (the reference), `pred_text`. Whatever else a line
carries is kept in `extra` and can be scored by.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class HypothesisError(ValueError):
    """A line that cannot be used; the message names file and line."""


@dataclass(kw_only=True, slots=True)
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
_ADVICE = {
    "utt_id": "; `audio_filepath` would do",
    "lang": "; name the language of such lines with --lang, as in `--lang hi`",
    "pred_text": "; `--missing deletions` takes it as an empty output",
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the lines of a file are to be taken."""

    default_lang: str | None = None
    """The language of lines that name none."""
    empty_if_absent: tuple[str, ...] = ()
    """Texts that a line may lack: `pred_text` where a missing output counts as an empty one."""


def read_hypotheses(
    path: str | os.PathLike[str], default_lang: str | None = None, *, missing_is_empty: bool = False
) -> list[Hypothesis]:
    """Returns the hypotheses of a JSON lines file.

    Args:
        path: the file.
        default_lang: the language of lines that name none.
        missing_is_empty: a line without `pred_text` is taken as an empty output, instead of being refused.
    """
    absent = ("pred_text",) if missing_is_empty else ()
    return list(iter_hypotheses(path, Reading(default_lang=default_lang, empty_if_absent=absent)))


def iter_hypotheses(path: str | os.PathLike[str], reading: Reading | None = None) -> Iterator[Hypothesis]:
    """Yields the hypotheses of a JSON lines file one by one; an id that comes twice is refused.

    Raises:
        HypothesisError: a line that cannot be used, a file without any, or no such file.
    """
    reading = reading or Reading()
    lines_of: dict[str, int] = {}
    for number, hypothesis in _numbered(Path(path), reading):
        first = lines_of.setdefault(hypothesis.utt_id, number)
        if first != number:
            raise HypothesisError(
                f"{path}:{number}: utt_id {hypothesis.utt_id!r} stands already on line {first}"
            )
        yield hypothesis
    if not lines_of:
        raise HypothesisError(f"{path}: no hypotheses in it, one JSON object a line was expected")


def _numbered(path: Path, reading: Reading) -> Iterator[tuple[int, Hypothesis]]:
    if not path.is_file():
        lacks = "a folder" if path.is_dir() else "no such file"
        raise HypothesisError(f"{path}: {lacks}; JSON lines made by `maya-eval run` were expected")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, parse_line(line, f"{path}:{number}", reading)


def parse_line(line: bytes, where: str, reading: Reading) -> Hypothesis:
    """Returns the hypothesis of a line; `where` it stands is named in errors."""
    row = _object(line, where)
    _take_foreign_names(row)
    row["lang"] = row.get("lang") or reading.default_lang
    for name in reading.empty_if_absent:
        row[name] = "" if row.get(name) is None else row[name]
    for name in _TEXTS:
        _check_text(name, row.get(name), where)
    for name in ("duration", "elapsed"):
        _check_seconds(name, row.get(name), where)
    known = {name: row.pop(name) for name in _COLUMNS if name in row}
    if (speaker := known.get("speaker")) is not None:
        known["speaker"] = str(speaker) or None
    return Hypothesis(**known, extra=row)


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise HypothesisError(f"{where}: not UTF-8 at byte {error.start}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        what = "nested too deep"
        if isinstance(error, json.JSONDecodeError):
            what = f"{error.msg.removesuffix(' at')} at column {error.colno}"
        raise HypothesisError(f"{where}: not a JSON object on one line, perhaps torn ({what})") from error
    if not isinstance(row, dict):
        raise HypothesisError(f"{where}: one JSON object a line was expected, got {type(row).__name__}")
    return row


def _take_foreign_names(row: dict[str, Any]) -> None:
    """Lines of NeMo and the Open ASR Leaderboard: `audio_filepath` (`offset`) as id, `time` as elapsed."""
    utt_id = row.get("utt_id")
    if utt_id is None and isinstance(row.get("audio_filepath"), str):
        offset = row.get("offset")
        row["utt_id"] = f"{row['audio_filepath']}#{offset}" if offset else row["audio_filepath"]
        if "elapsed" not in row and isinstance(row.get("time"), int | float):
            row["elapsed"] = row["time"]
    elif isinstance(utt_id, int) and not isinstance(utt_id, bool):
        row["utt_id"] = str(utt_id)


def _check_text(name: str, value: object, where: str) -> None:
    if value is None:
        raise HypothesisError(f"{where}: `{name}` is missing{_ADVICE.get(name, '')}")
    if not isinstance(value, str) or (name in ("utt_id", "lang") and not value):
        raise HypothesisError(f"{where}: `{name}` must be a text, got {value!r}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise HypothesisError(f"{where}: `{name}` holds half a character (a lone surrogate)") from error


def _check_seconds(name: str, value: object, where: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise HypothesisError(f"{where}: `{name}` must be a number of seconds, got {value!r}")


def write_hypotheses(path: str | os.PathLike[str], rows: Iterable[Hypothesis]) -> None:
    """Writes the rows as JSON lines; the file appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8") as file:
        file.writelines(row.to_json() + "\n" for row in rows)
    unfinished.replace(path)
