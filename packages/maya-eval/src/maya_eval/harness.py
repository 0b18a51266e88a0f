"""Runs any transcriber plugin over a segment index or a benchmark and appends raw text as JSON lines.

A run that is started again skips what is written, unless the weights or the index have changed since: then it
starts anew. The clips of the worst utterances are written beside the file, for a report to play.
"""

import hashlib
import json
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from threading import Lock
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from rich.console import Console
from rich.progress import track

from maya_eval.appended import Appended
from maya_eval.benchmarks import load_benchmark
from maya_eval.clips import CLIPS, write_clips
from maya_eval.dask_fleet import fleet
from maya_eval.plugins import find
from maya_eval.sharing import UNIT, Part, SharedRun, result_of
from maya_eval.sources import Source, benchmark_source, index_source
from maya_eval.transcribing import RunReport, Worker
from maya_eval.units import Member, member

LINES = 10
"""Progress lines of a run whose output is no terminal."""
WEIGHTS = ("*.safetensors", "*.bin", "*.nemo", "*.onnx")


@dataclass(kw_only=True)
class RunConfig:
    """What to transcribe, with what, and where to."""

    model: str
    """Folder (or name) that the transcriber opens."""
    index: Path | None = None
    """Segment index made by `maya-data index`; either this or `benchmark`."""
    benchmark: str | None = None
    """A YAML file, or the name of one in `configs/benchmark`."""
    out: Path
    """JSON lines; appended to while model and source stay what they are."""
    transcriber: str = "maya-llm"
    """Plugin of `maya.transcribers`, or `module:Class`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of that plugin; texts are read as the type of the field."""
    device: str = "cpu"
    batch_size: int = 16
    warmup: int | None = None
    """Batches transcribed once more before the clock counts; None: one on an accelerator, none on a CPU."""
    root: str | None = None
    """Where the benchmark's data lie, instead of what its file says."""
    langs: list[str] | None = None
    """Languages of the benchmark; all when None."""
    sets: list[str] | None = None
    """Sets of the benchmark; all when None."""
    configs: Path | None = None
    """Folder of configs to look the benchmark up in."""
    clips: int = CLIPS
    """Sound of so many of the worst utterances is kept for the report; 0 keeps none."""
    shared: bool = False
    """Other processes do the same run at the same time, torchrun's for example."""
    dask: str | None = None
    """Address of a Dask cluster to do it on, or `local:N`."""
    unit: int | None = None
    """Utterances that a process takes at a time where several do the run; None: four batches."""

    def __post_init__(self) -> None:
        if (self.index is None) == (self.benchmark is None):
            raise ValueError("a run needs either `index` or `benchmark`")
        for name, least in (("batch_size", 1), ("warmup", 0), ("clips", 0), ("unit", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"`{name}` must be {least} or more, got {value}")

    @property
    def system(self) -> str:
        """What every line says about its origin."""
        chosen = ",".join(f"{name}={value}" for name, value in sorted(self.options.items()))
        return f"{self.transcriber}({chosen})" if chosen else self.transcriber


def run(config: RunConfig, progress: bool = True) -> RunReport:
    """Transcribes every utterance of the source that the output does not hold yet."""
    opened = _opened(config)
    if config.shared or config.dask is not None:
        return _run_shared(config, opened, progress)
    source, output = opened.source, Appended(config.out, opened.origin)
    pending = [item for item in source.utterances if not output.holds(item.utt_id, item.text)]
    report = RunReport(kept=len(source.utterances) - len(pending))
    if pending:
        worker = opened.worker()
        batches = [pending[at : at + config.batch_size] for at in range(0, len(pending), config.batch_size)]
        with output:
            for batch in _shown(batches, progress):
                output.append(worker.lines(batch, output.origin, report))
    _finish(config, output, source, report)
    return report


def done_elsewhere(config: RunConfig, part: Part) -> str:
    """Transcribes a part of the run that `config` tells of, and returns the result; on a Dask worker."""
    with _ELSEWHERE:
        opened, worker = _kept_open(config)
        if opened.origin["fingerprint"] != part.origin["fingerprint"]:
            raise ValueError(f"{socket.gethostname()} has another {config.model}, or another source")
        return result_of(worker, opened.source, part, config.batch_size)


@dataclass
class _Opened:
    """What a run has looked up; nothing is loaded yet."""

    config: RunConfig
    configured: Any
    source: Source
    origin: dict[str, str]

    def worker(self, device: str | None = None) -> Worker:
        """Loads the model."""
        config, device = self.config, device or self.config.device
        if re.fullmatch(r"cuda:\d+", device):
            import torch

            torch.cuda.set_device(device)
        transcriber = self.configured.build(model=config.model, device=device)
        return Worker(transcriber, device, config.batch_size, config.warmup)


_ELSEWHERE = Lock()
"""A model is for one thread at a time, and a Dask worker may have several."""


_KEPT: dict[str, tuple[_Opened, Worker]] = {}
"""The one run that a Dask worker keeps open from one unit to the next."""


def _kept_open(config: RunConfig) -> tuple[_Opened, Worker]:
    key = repr(config)
    if key not in _KEPT:
        _KEPT.clear()
        opened = _opened(config)
        _KEPT[key] = opened, opened.worker()
    return _KEPT[key]


def _opened(config: RunConfig) -> _Opened:
    if config.model.startswith(("/", "./", "../", "~")) and not Path(config.model).exists():
        raise ValueError(f"{config.model}: no such model")
    configured = _configured(_transcriber(config.transcriber), config)
    source = _source(config)
    origin = {
        "system": config.system,
        "model": config.model,
        "fingerprint": _fingerprint(config.model, source),
    }
    return _Opened(config, configured, source, origin)


def _run_shared(config: RunConfig, opened: _Opened, progress: bool) -> RunReport:
    me = member() if config.shared else Member()
    size = config.unit or UNIT * config.batch_size
    with ExitStack() as stack:
        client = None if config.dask is None else stack.enter_context(fleet(config.dask))
        shared = stack.enter_context(SharedRun(config.out, opened.origin, opened.source, size, me))
        if client is not None:
            shared.do_by_fleet(client, done_elsewhere, _anywhere(config), progress)
        else:
            shared.do(lambda: opened.worker(me.device(config.device)), config.batch_size, progress)
        return shared.merge(lambda output, report: _finish(config, output, opened.source, report))


def _anywhere(config: RunConfig) -> RunConfig:
    """The run as a process in another folder is to be told of it."""
    found: dict[str, Any] = {
        name: Path(value).resolve()
        for name in ("index", "root", "configs", "model", "benchmark")
        if (value := getattr(config, name)) is not None and Path(value).exists()
    }
    texts = {name: str(path) for name, path in found.items() if name not in ("index", "configs")}
    return replace(config, **(found | texts), out=config.out.resolve(), dask=None, shared=False)


def _finish(config: RunConfig, output: Appended, source: Source, report: RunReport) -> None:
    """Writes what lies beside the lines."""
    if report.skipped:
        report.references = _write_references(config.out, source)
    if config.clips:
        _keep_clips(config, output, source, report)


def _transcriber(name: str) -> Any:
    try:
        plugin = find("transcribers", name, allow_path=True)
    except (ImportError, AttributeError) as error:
        if ":" not in name:
            raise
        raise ValueError(f"transcriber {name!r}: {error}; `module:Class` names one of your own") from error
    if not is_dataclass(plugin):
        raise ValueError(f"transcriber {name!r} is no plugin: a dataclass with `build(model, device)`")
    return plugin


def _write_references(out: Path, source: Source) -> Path:
    """Writes what should have been answered, so that a score can refuse, or count, what is missing."""
    path = out.with_suffix(".refs")
    rows = [
        {"utt_id": item.utt_id, "lang": item.lang, "text": item.text} | item.columns
        for item in source.utterances
    ]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _keep_clips(config: RunConfig, output: Appended, source: Source, report: RunReport) -> None:
    try:
        report.clips = write_clips(config.out, output.rows.values(), source.utterances, config.clips)
    except ImportError as error:
        print(f"no clips are kept: {error}", file=sys.stderr)


def _source(config: RunConfig) -> Source:
    if config.index is not None:
        return index_source(config.index)
    chosen = load_benchmark(
        str(config.benchmark), root=config.root, langs=config.langs, sets=config.sets, configs=config.configs
    )
    return benchmark_source(chosen)


def _configured(plugin: Any, config: RunConfig) -> Any:
    known = [field.name for field in fields(plugin)]
    hints = _hints(plugin)
    for name in config.options:
        if name not in known:
            raise ValueError(f"{config.transcriber} has no field {name!r}; it has: {', '.join(known)}")
    return plugin(**{name: _typed(name, value, hints.get(name)) for name, value in config.options.items()})


def _hints(plugin: Any) -> dict[str, Any]:
    try:
        return get_type_hints(plugin)
    except NameError:  # annotations that only a type checker can see: the texts stay as they are
        return {}


def _typed(name: str, value: Any, wanted: Any) -> Any:
    """Reads a text from the command line as the type of the field; the plugin checks what it says."""
    kinds = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    if not isinstance(value, str):
        return value
    if value in ("null", "None") and NoneType in kinds:
        return None
    if not {bool, int, float}.intersection(kinds) or str in kinds:
        return value
    try:
        return json.loads(value.lower())
    except ValueError as error:
        named = getattr(wanted, "__name__", wanted)
        raise ValueError(f"`{name}` must be of type {named}, got {value!r}") from error


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


def _fingerprint(model: str, source: Source) -> str:
    """Equal for equal weights (the model's and, where it has one, its LLM's) and an equal source."""
    digest = hashlib.sha256(source.fingerprint.encode())
    folders = [Path(model), Path(model) / "llm"] if Path(model).is_dir() else []
    found = [path for folder in folders for kind in WEIGHTS for path in sorted(folder.glob(kind))]
    for path in found or [path for path in (Path(model),) if path.is_file()]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
