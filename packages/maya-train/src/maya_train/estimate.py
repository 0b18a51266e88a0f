"""What a recipe costs before anyone books a machine: operations, steps, days, memory and loader cores."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from maya_train.errors import ConfigError
from maya_train.flops import FlopCounter
from maya_train.hardware import DEVICES, FLOAT32_SHARE, Device
from maya_train.memory_estimate import STRATEGIES, activation_gib, state_gib
from maya_train.schema import RunConfig

DAY = 86_400
REAL_TIME_A_CORE = 500.0
"""Seconds of audio that a core decodes in one, where the index at hand cannot tell."""
TRIED = 32
"""Segments that are decoded to measure it."""


@dataclass(frozen=True)
class GuideStage:
    """A row of the build guide's own table, for eight H100."""

    steps: int
    seconds_a_step: tuple[float, float]
    days: tuple[float, float]


GUIDE = {
    "encoder": GuideStage(200_000, (2, 3), (5, 7)),
    "align": GuideStage(20_000, (3, 3), (1, 1)),
    "joint": GuideStage(150_000, (4, 6), (7, 10)),
    "polish": GuideStage(20_000, (4, 4), (1, 1)),
}
GUIDE_DAYS = (14, 19)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What is to be booked."""

    device: str
    peak: float
    """Operations a second of one device."""
    memory: float
    """GiB of one device."""
    devices: int
    mfu: float = 0.3
    """Share of `peak` that a step reaches."""
    decode: float = REAL_TIME_A_CORE
    """Seconds of audio that a loader core reads and decodes in one."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if not 0 < self.mfu <= 1:
            raise ConfigError(f"`--mfu` must be above 0 and at most 1, got {self.mfu:g}")
        if self.devices < 1:
            raise ConfigError(f"`--gpus` must be 1 or more, got {self.devices}")


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What is heard."""

    seconds: float = 10.0
    """Of an utterance."""
    tokens_a_second: float = 5.0
    """Of text."""
    hours: float | None = None
    """Of one pass over the data."""
    padding: float = 0.043
    """Share of a batch."""


@dataclass(frozen=True)
class StageCost:
    """One row of the plan."""

    stage: str
    steps: int
    audio_hours_a_step: float
    gflops_an_audio_second: float
    pflops_a_step: float
    seconds_a_step: float
    audio_hours_an_hour: float
    hours: float
    epochs: float | None
    loader_cores: float
    state_gib: dict[str, float]
    """By strategy, in one process."""
    activation_gib: float
    by_module: dict[str, float]
    """Share of the operations."""
    guide: GuideStage | None = None
    guide_mfu: tuple[float, float] | None = None
    """What the guide's time for a step would be as MFU, slowest first."""

    @property
    def days(self) -> float:
        """Of this stage."""
        return self.hours / 24


@dataclass(frozen=True)
class Estimate:
    """The whole plan."""

    recipe: str
    hardware: Hardware
    speech: Speech
    stages: list[StageCost] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        found = asdict(self)
        found["days"] = sum(stage.days for stage in self.stages)
        return found


def estimate(runs: Sequence[RunConfig], hardware: Hardware, speech: Speech | None = None) -> Estimate:
    """Work out what `runs` cost on `hardware`."""
    heard = speech or Speech()
    return Estimate(
        runs[0].recipe,
        hardware,
        heard,
        [stage_cost(run, hardware, heard) for run in runs if run.task != "init"],
    )


def stage_cost(cfg: RunConfig, hardware: Hardware, speech: Speech) -> StageCost:
    """One stage's costs."""
    counter = FlopCounter.of(cfg)
    precision = cfg.precision or "32-true"
    audio = cfg.data.batch_duration * (1 - speech.padding) * cfg.grad_accum * hardware.devices
    number = max(1, round(audio / speech.seconds))
    durations = [audio / number] * number
    by_module = counter.by_module(durations, audio * speech.tokens_a_second)
    flops = sum(by_module.values())
    seconds = flops / (hardware.peak * hardware.mfu * hardware.devices)
    guide = GUIDE.get(cfg.stage) if cfg.recipe.startswith("maya") else None
    return StageCost(
        stage=cfg.stage,
        steps=cfg.max_steps,
        audio_hours_a_step=audio / 3600,
        gflops_an_audio_second=flops / audio / 1e9,
        pflops_a_step=flops / 1e15,
        seconds_a_step=seconds,
        audio_hours_an_hour=audio / seconds,
        hours=seconds * cfg.max_steps / 3600,
        epochs=None if not speech.hours else audio / 3600 * cfg.max_steps / speech.hours,
        loader_cores=0.0 if _needs_no_audio(cfg) else audio / seconds / hardware.decode,
        state_gib={name: state_gib(counter, name, hardware.devices, precision) for name in STRATEGIES},
        activation_gib=activation_gib(counter, precision, cfg.data.max_duration, speech.tokens_a_second),
        by_module={name: value / flops for name, value in by_module.items() if value},
        guide=guide,
        guide_mfu=None if guide is None else _guide_mfu(guide, flops, hardware),
    )


def _guide_mfu(guide: GuideStage, flops: float, hardware: Hardware) -> tuple[float, float]:
    low, high = guide.seconds_a_step
    most = hardware.peak * hardware.devices
    return flops / (high * most), flops / (low * most)


def _needs_no_audio(cfg: RunConfig) -> bool:
    return cfg.task == "text_copy" or cfg.cache_encoder


def find_hardware(
    name: str, devices: int, mfu: float, precision: str, peak_tflops: float | None = None
) -> Hardware:
    """The hardware of a name in `hardware.DEVICES`, or `cpu`, whose peak is measured here.

    Raises:
        ConfigError: the name is not known.
    """
    if name == "cpu":
        peak = measured_peak() if peak_tflops is None else peak_tflops * 1e12
        return Hardware(device="cpu", peak=peak, memory=_memory_here(), devices=devices, mfu=mfu)
    device = DEVICES.get(name)
    if device is None:
        raise ConfigError(f"--gpu {name}: not known; known are: cpu, {', '.join(sorted(DEVICES))}")
    peak = _peak(device, precision) if peak_tflops is None else peak_tflops * 1e12
    return Hardware(device=name, peak=peak, memory=device.memory, devices=devices, mfu=mfu)


def _peak(device: Device, precision: str) -> float:
    return device.peak if precision.startswith("bf16") else device.peak * FLOAT32_SHARE


def measured_peak(size: int = 512, seconds: float = 0.3) -> float:
    """Operations a second of matrix products in this process."""
    left, rounds, started = torch.ones(size, size), 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds or not rounds:
        torch.mm(left, left)
        rounds += 1
    return 2.0 * size**3 * rounds / passed


def _memory_here() -> float:
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def measured_speech(cfg: RunConfig) -> tuple[Speech, float]:
    """What the index of a run says of utterances, and how fast a core decodes them; else the defaults."""
    if not (Path(cfg.data.index) / "index.json").is_file():
        return Speech(), REAL_TIME_A_CORE
    from maya_train.stages import named

    with named(cfg):
        return _measured(cfg)


def _measured(cfg: RunConfig) -> tuple[Speech, float]:
    from maya_data.audio.fetch import read_audio
    from maya_train.sources import TrainingData

    data = TrainingData.open(cfg)
    rows = data.usable_rows()
    seconds = float(data.index.durations[rows].astype("float64").sum())
    number = len(rows)
    rows = rows[:: max(1, number // TRIED)][:TRIED]
    tokens = _tokens(cfg, data.index, rows)
    started, heard = time.perf_counter(), 0.0
    for row in rows:
        heard += len(read_audio(data.index, row, cfg.frontend.sampling_rate)) / cfg.frontend.sampling_rate
    passed = time.perf_counter() - started
    speech = Speech(
        seconds=seconds / number,
        tokens_a_second=tokens / max(1e-9, heard),
        hours=seconds / 3600,
    )
    return speech, heard / max(1e-9, passed)


def _tokens(cfg: RunConfig, index: Any, rows: Sequence[int]) -> float:
    from maya_encoder.tokenizer import Tokenizer

    pairs = list(index.texts(rows))
    if not (Path(cfg.tokenizer) / "tokenizer.yaml").is_file():
        return sum(len(text) for text, _ in pairs) / 3
    tokenizer = Tokenizer.load(cfg.tokenizer)
    return float(sum(len(tokenizer.encode(text, lang)) for text, lang in pairs))
