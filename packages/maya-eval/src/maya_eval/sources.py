"""Where a run's utterances come from: a segment index, or the readers of a benchmark.

No sibling package is imported: readers are found by entry point, and an index is opened by maya-data, which
is loaded by name.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from maya_eval.audio import SAMPLING_RATE, Samples, UnreadableAudio, row_audio
from maya_eval.benchmarks import Benchmark, BenchmarkError, Part

LOCATION = frozenset(
    ("shard", "path", "audio", "offset", "size", "start", "num_samples", "sampling_rate", "flags")
)
"""Columns of a row that say where its sound is; the others are kept to group scores by."""


@dataclass(kw_only=True)
class Utterance:
    """One segment to transcribe."""

    utt_id: str
    lang: str
    text: str
    duration: float
    """Seconds; 0 where the source does not say."""
    speaker: str | None
    read: Callable[[], Samples]
    """Returns the samples (S,) at 16 kHz, or raises `UnreadableAudio`."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Further columns of the line that is written."""


@dataclass(frozen=True)
class Source:
    """Everything one run transcribes, the shortest first."""

    utterances: list[Utterance]
    fingerprint: str
    """Changes when the source does."""


def index_source(path: Path) -> Source:
    """Returns the segments of an index made by `maya-data index`."""
    index = _data("indexing.segments").open_index(path)
    order = index.durations.argsort(kind="stable")
    return Source([_segment(index, int(i)) for i in order], str(index.fingerprint))


def benchmark_source(benchmark: Benchmark) -> Source:
    """Returns the rows of a benchmark's readers."""
    found: list[Utterance] = []
    for part, reader in benchmark.open():
        found += _part(benchmark, part, reader)
    digest = hashlib.sha256(benchmark.fingerprint.encode())
    return Source(sorted(found, key=lambda item: item.duration), digest.hexdigest()[:16])


def _segment(index: Any, i: int) -> Utterance:
    segment = index.row(i)

    def read() -> Samples:
        fetch = _data("audio.fetch")
        try:
            samples: Samples = fetch.read_audio(index, i, SAMPLING_RATE)
        except fetch.CorruptAudio as error:
            raise UnreadableAudio(str(error)) from error
        return samples

    return Utterance(
        utt_id=segment.id,
        lang=segment.lang,
        text=segment.text,
        duration=float(segment.duration),
        speaker=getattr(segment, "speaker", None) or None,
        read=read,
    )


def _part(benchmark: Benchmark, part: Part, reader: Any) -> list[Utterance]:
    where = f"benchmark {benchmark.name}: {part.label}" + (f" in {part.lang}" if part.lang else "")
    seen: set[str] = set()
    rows = [_utterance(benchmark, part, reader, row, where) for row in _rows(reader, where)]
    if benchmark.langs is not None:
        rows = [row for row in rows if row.lang in benchmark.langs]
    for row in rows:
        if row.utt_id in seen:
            raise BenchmarkError(f"{where}: the reader gave the id {row.utt_id!r} twice")
        seen.add(row.utt_id)
    if not rows:
        raise BenchmarkError(f"{where}: the reader found no utterance; it is to be had at {benchmark.where}")
    return rows


def _rows(reader: Any, where: str) -> Iterator[Mapping[str, Any]]:
    try:
        built: Iterable[Mapping[str, Any]] = reader.build()
        yield from built
    except (OSError, ValueError, LookupError) as error:
        raise BenchmarkError(f"{where}: {error}") from error


def _utterance(
    benchmark: Benchmark, part: Part, reader: Any, row: Mapping[str, Any], where: str
) -> Utterance:
    name = str(row.get("id") or "")
    lang = row.get("lang") or part.lang
    if not (name and lang and isinstance(row.get("text"), str)):
        raise BenchmarkError(f"{where}: a row needs `id`, `text` and `lang`, got {_shown(row)}")
    taken = ("id", "text", "lang", "duration", "speaker")
    columns = {
        key: value
        for key, value in row.items()
        if key not in LOCATION and key not in taken and isinstance(value, str | int | float) and value != ""
    }
    return Utterance(
        utt_id=f"{part.label}/{lang}/{name}" if benchmark.several else name,
        lang=str(lang),
        text=row["text"],
        duration=float(row.get("duration") or 0.0),
        speaker=str(row["speaker"]) if row.get("speaker") else None,
        read=lambda: row_audio(reader, row),
        columns={"benchmark": part.label} | columns,
    )


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if isinstance(value, str | int | float | None)}


def _data(module: str) -> Any:
    try:
        return import_module(f"maya_data.{module}")
    except ModuleNotFoundError as error:
        raise ImportError("reading an index needs maya-data; pip install 'maya-eval[run]'") from error
