"""Hours of speech that a run could learn from, by language, after its own filter."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maya_data.indexing.segments import SegmentIndex
from maya_data.planning.filters import FilterConfig
from maya_data.planning.usable import Usable
from maya_train.errors import ConfigError
from maya_train.publish.source import CONFIG, Source, read_yaml

SPEECH_TASKS = ("acoustic", "speech_llm")
NOT_KNOWN = "No training index was found, so the hours of speech are not known here"


@dataclass(frozen=True)
class LanguageData:
    """What was there to learn a language from, heard once."""

    lang: str
    hours: float
    segments: int
    corpora: tuple[str, ...]


@dataclass(frozen=True)
class TrainingSpeech:
    """The speech of a run."""

    languages: tuple[LanguageData, ...] = ()
    note: str = ""
    """What limits the numbers; empty where they are exact."""
    longest: float = 0.0
    """Seconds of the longest segment."""

    @property
    def hours(self) -> float:
        """Of all languages."""
        return sum(row.hours for row in self.languages)

    @property
    def corpora(self) -> tuple[str, ...]:
        """Names of all corpora, sorted."""
        return tuple(sorted({name for row in self.languages for name in row.corpora}))


def training_speech(source: Source, given: Path | None) -> TrainingSpeech:
    """The speech that the stages of a run read.

    Args:
        source: the model.
        given: an index, or a file of `maya-data stats --json`, in place of what lies in the run.

    Raises:
        ConfigError: `given` is neither.
    """
    stage = next((folder for folder in reversed(source.stages) if _hears(folder)), None)
    values = {} if stage is None else read_yaml(stage / CONFIG)
    path = given or _index_of(source, values) or _stats_of(source)
    if path is None:
        return TrainingSpeech(note=f"{NOT_KNOWN}; `maya-train export --index FOLDER` names it.")
    try:
        if path.is_file():
            return told(path)
        index = SegmentIndex.open(path)
        return counted(index, *_filter(values.get("data") or {}))
    except (ValueError, OSError, KeyError, TypeError) as error:
        if given is not None:
            raise ConfigError(f"--index {given}: {' '.join(str(error).split())}") from None
        return TrainingSpeech(note=f"{NOT_KNOWN}: {' '.join(str(error).split())}.")


def counted(index: SegmentIndex, chosen: FilterConfig, note: str = "") -> TrainingSpeech:
    """The usable speech of an index by language."""
    usable = Usable(index, chosen)
    hours: dict[str, float] = defaultdict(float)
    segments: dict[str, int] = defaultdict(int)
    corpora: dict[str, list[str]] = defaultdict(list)
    for (lang, corpus), count, time in zip(usable.components, usable.counts, usable.hours, strict=True):
        if count:
            hours[lang] += float(time)
            segments[lang] += int(count)
            corpora[lang] += [corpus] if corpus else []
    rows = [
        LanguageData(lang, hours[lang], segments[lang], tuple(sorted(corpora[lang])))
        for lang in sorted(hours)
    ]
    return TrainingSpeech(tuple(rows), note, usable.longest)


def told(stats: Path) -> TrainingSpeech:
    """The same from a file of `maya-data stats --json`."""
    content = json.loads(stats.read_text(encoding="utf-8"))
    corpora: dict[str, list[str]] = defaultdict(list)
    for row in content["corpus_rows"]:
        corpora[row["lang"]].append(row["corpus"])
    rows = [
        LanguageData(
            row["lang"],
            float(row["trainable_hours"]),
            int(row["segments"]),
            tuple(sorted(corpora[row["lang"]])),
        )
        for row in content["langs"]
    ]
    return TrainingSpeech(tuple(rows), "Counted before the run's own filter.")


def _stats_of(source: Source) -> Path | None:
    """Statistics that lie in the run, for where the index does not."""
    path = None if source.run is None else source.run / "stats.json"
    return path if path is not None and path.is_file() else None


def _hears(stage: Path) -> bool:
    return read_yaml(stage / CONFIG).get("task") in SPEECH_TASKS


def _index_of(source: Source, values: dict[str, Any]) -> Path | None:
    """The index that a stage's config names, where the run lies now."""
    named = (values.get("data") or {}).get("index")
    if not named:
        return None
    inside = Path(str(named))
    run_dir = str(values.get("run_dir") or "")
    if source.run is not None and run_dir and inside.is_relative_to(run_dir):
        moved = source.run / inside.relative_to(run_dir)
        return moved if moved.exists() else inside if inside.exists() else None
    return inside if inside.exists() else None


def _filter(data: dict[str, Any]) -> tuple[FilterConfig, str]:
    """The filter of a stage, and what could not be taken over from it."""
    keys = ("min_duration", "max_duration", "max_chars_per_second", "langs", "corpora", "quarantine")
    try:
        return FilterConfig(**{key: data[key] for key in keys if data.get(key) is not None}), ""
    except (TypeError, ValueError):
        return FilterConfig(), "Counted before the run's own filter."
