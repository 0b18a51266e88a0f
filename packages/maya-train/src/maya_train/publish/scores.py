"""Scores for a model card: rows of `maya-eval score --json`, or hypotheses that are scored here."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maya_eval.scores import score_file
from maya_train.errors import ConfigError
from maya_train.publish.source import Source

NEEDED = ("lang", "profile", "utterances", "words", "wer", "cer")


@dataclass(frozen=True, kw_only=True)
class Score:
    """One language under one profile."""

    system: str
    """Which output was scored: the file's name, such as ctc or llm."""
    lang: str
    profile: str
    version: str
    utterances: int
    words: int
    wer: float
    """A fraction."""
    cer: float
    interval: tuple[float, float] | None
    """95 % interval of the word error rate, as fractions."""
    over: str
    """What the interval was drawn over: speaker or utterance."""


def find_scores(source: Source, systems: Sequence[str]) -> tuple[Path, ...]:
    """Files of a run that score what is exported: scores/NAME.json, else hyps/NAME.jsonl."""
    if source.run is None:
        return ()
    found = []
    for name in systems:
        for path in (source.run / "scores" / f"{name}.json", source.run / "hyps" / f"{name}.jsonl"):
            if path.is_file():
                found.append(path)
                break
    return tuple(found)


def read_scores(paths: Iterable[Path], profile: str, langs: Sequence[str] = ()) -> list[Score]:
    """The rows of all files, those of `langs` where any are named.

    Raises:
        ConfigError: a file cannot be read, is grouped by more than the language, or two say the same.
    """
    found = [score for path in paths for score in _read(path, profile)]
    found = [score for score in found if not langs or score.lang in langs]
    twice = Counter((score.system, score.lang, score.profile) for score in found)
    for (system, lang, name), count in twice.items():
        if count > 1:
            raise ConfigError(
                f"--scores: {count} rows are of {system}, {lang} and {name}; score by language alone, and"
                " give every file once"
            )
    return found


def _read(path: Path, profile: str) -> list[Score]:
    try:
        if path.suffix == ".jsonl":
            rows = [row.to_dict() for row in score_file(path, profile)]
        else:
            rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return [_score(path, row) for row in rows if row["wer"] is not None]
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"--scores {path}: rows need {', '.join(NEEDED)}, as `maya-eval score --json` writes them, and"
            f" {error} is missing or wrong"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"--scores {path}: {' '.join(str(error).split())}") from None


def _score(path: Path, row: dict[str, Any]) -> Score:
    bounds = (row.get("wer_low"), row.get("wer_high"))
    return Score(
        system=path.stem,
        **{key: row[key] for key in NEEDED},
        version=str(row.get("version") or ""),
        interval=None if None in bounds else (float(row["wer_low"]), float(row["wer_high"])),
        over=str(row.get("interval") or ""),
    )
