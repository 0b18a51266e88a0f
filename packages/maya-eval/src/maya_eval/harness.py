"""Runs any transcriber plugin over a segment index and appends raw text as JSON lines, batch by batch.

A run that is started again skips what is written, unless the weights or the index have changed since: then it
starts anew. No sibling is imported: the transcriber is found by its
entry point, and the index is opened by maya-data (extra `run`), which is loaded by name.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from maya_eval.hypotheses import Hypothesis, read_hypotheses
from maya_eval.plugins import find

SAMPLING_RATE = 16000
"""Of the arrays that a transcriber gets, as the plugin contract has it."""
LINES = 10
"""Progress lines of a run whose output is no terminal."""
INSTALL = "reading an index needs maya-data; pip install 'maya-eval[run]'"


@dataclass(kw_only=True)
class RunConfig:
    """What to transcribe, with what, and where to."""

    model: str
    """Folder (or name) that the transcriber opens."""
    index: Path
    """Segment index made by `maya-data index`."""
    out: Path
    """JSON lines; appended to while model and index stay what they are."""
    transcriber: str = "maya-llm"
    """Plugin of `maya.transcribers`, or `module:Class`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of that plugin."""
    device: str = "cpu"
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` must be 1 or more, got {self.batch_size}")

    @property
    def system(self) -> str:
        """What every line says about its origin."""
        chosen = ",".join(f"{name}={value}" for name, value in sorted(self.options.items()))
        return f"{self.transcriber}({chosen})" if chosen else self.transcriber


@dataclass(kw_only=True)
class RunReport:
    """What one call did."""

    kept: int = 0
    """Utterances that were in the file already."""
    new: int = 0
    skipped: list[str] = field(default_factory=list)
    """Why an utterance could not be read, one sentence each."""
    audio_seconds: float = 0.0
    work_seconds: float = 0.0

    @property
    def rtf_text(self) -> str:
        """Seconds of work (features and decoding, file reading not counted) a second of audio."""
        return f"{self.work_seconds / self.audio_seconds:.3f}" if self.audio_seconds else "-"


def run(config: RunConfig, progress: bool = True) -> RunReport:
    """Transcribes every segment of the index that the output does not hold yet."""
    plugin = find("transcribers", config.transcriber, allow_path=True)
    index = _data("index").SegmentIndex.open(config.index)
    origin = {
        "system": config.system,
        "model": config.model,
        "fingerprint": _fingerprint(config.model, index),
    }
    done = _resume(config.out, origin)
    pending = [i for i in index.durations.argsort(kind="stable") if index.row(int(i)).id not in done]
    report = RunReport(kept=len(done))
    if not pending:
        return report
    transcriber = _configured(plugin, config).build(model=config.model, device=config.device)
    batches = [pending[at : at + config.batch_size] for at in range(0, len(pending), config.batch_size)]
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with config.out.open("a" if done else "w", encoding="utf-8") as file:
        for batch in _shown(batches, progress):
            rows = _transcribe(transcriber, *_read(index, batch, report), config.batch_size, report)
            for row in rows:
                row.extra = dict(origin)
            file.writelines(row.to_json() + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
    return report


def _configured(plugin: Any, config: RunConfig) -> Any:
    known = [field.name for field in fields(plugin)]
    for name in config.options:
        if name not in known:
            raise ValueError(f"{config.transcriber} has no field {name!r}; it has: {', '.join(known)}")
    return plugin(**config.options)


def _data(module: str) -> Any:
    try:
        return import_module(f"maya_data.{module}")
    except ModuleNotFoundError as error:
        raise ImportError(INSTALL) from error


def _shown(batches: list[Any], progress: bool) -> Iterator[Any]:
    console = Console(stderr=True)
    if not progress or console.is_terminal:
        yield from track(batches, "transcribing", console=console, disable=not progress)
        return
    total, every = sum(map(len, batches)), -(-len(batches) // LINES)
    done = 0
    for number, batch in enumerate(batches, 1):
        yield batch
        done += len(batch)
        if number % every == 0 or number == len(batches):
            print(f"transcribing: {done} of {total} utterances", file=sys.stderr, flush=True)


def _fingerprint(model: str, index: Any) -> str:
    """Equal for equal weights (the model's and, where it has one, its LLM's) and an equal index."""
    digest = hashlib.sha256(str(index.fingerprint).encode())
    for folder in (Path(model), Path(model) / "llm"):
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _resume(out: Path, origin: dict[str, str]) -> set[str]:
    """Returns the ids that are written, after a torn last line (of a run that was killed) is cut off.

    None are when other weights or another index made them.
    """
    if not out.exists() or not _cut_torn_line(out):
        return set()
    rows = read_hypotheses(out)
    for system, model in {(row.extra.get("system"), row.extra.get("model")) for row in rows}:
        if (system, model) != (origin["system"], origin["model"]):
            raise ValueError(f"{out} holds outputs of {system} with {model}; give this run another file")
    if any(row.extra.get("fingerprint") != origin["fingerprint"] for row in rows):
        print(f"{out} is started anew: {origin['model']} or the index has changed since", file=sys.stderr)
        return set()
    return {row.utt_id for row in rows}


def _cut_torn_line(path: Path) -> int:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        try:
            json.loads(content[whole:])
        except ValueError:
            os.truncate(path, whole)
        else:
            with path.open("ab") as file:
                file.write(b"\n")
            whole = len(content) + 1
    return whole


def _read(index: Any, batch: list[int], report: RunReport) -> tuple[list[Any], list[Any]]:
    fetch = _data("fetch")
    segments, waveforms = [], []
    for i in batch:
        try:
            waveforms.append(fetch.read_audio(index, int(i), SAMPLING_RATE))
        except fetch.CorruptAudio as error:
            report.skipped.append(str(error))
        else:
            segments.append(index.row(int(i)))
    return segments, waveforms


def _transcribe(
    transcriber: Any, segments: list[Any], waveforms: list[Any], batch_size: int, report: RunReport
) -> list[Hypothesis]:
    if not segments:
        return []
    langs = [segment.lang for segment in segments]
    seconds, outputs = _timed(lambda: transcriber.transcribe(waveforms, langs=langs, batch_size=batch_size))
    audio = sum(segment.duration for segment in segments)
    report.new += len(segments)
    report.audio_seconds += audio
    report.work_seconds += seconds
    return [
        Hypothesis(
            utt_id=segment.id,
            lang=segment.lang,
            text=segment.text,
            pred_text=output.text,
            duration=round(float(segment.duration), 3),
            elapsed=round(seconds * segment.duration / audio, 4),
            speaker=getattr(segment, "speaker", None) or None,
        )
        for segment, output in zip(segments, outputs, strict=True)
    ]


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
