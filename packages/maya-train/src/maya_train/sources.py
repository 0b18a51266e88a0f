"""Where batches come from: the endless training stream, the same without audio, and the data of a cache."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric

from maya_data.audio.augment import AugmentConfig
from maya_data.audio.fetch import CorruptAudio, read_audio
from maya_data.indexing.segments import Segment, SegmentIndex
from maya_data.loading.batch import Batch, Utterance, collate
from maya_data.loading.loader import build_loader
from maya_data.loading.loader_config import LoaderConfig
from maya_data.loading.quarantine import Quarantine
from maya_data.planning.plan import Plan
from maya_data.text import profile
from maya_train.data_plan import plan_config
from maya_train.schema import RunConfig

ENCODED_SECONDS = 60.0  # of padded audio in a batch that fills the cache


@dataclass(frozen=True)
class TrainingData:
    """The index of a run and its plan."""

    index: SegmentIndex
    plan: Plan

    @classmethod
    def open(cls, cfg: RunConfig) -> "TrainingData":
        """The data that `cfg.data` describes."""
        index = SegmentIndex.open(cfg.data.index)
        return cls(index, Plan(index, plan_config(cfg)))

    def usable_rows(self) -> list[int]:
        """Rows that the plan may give out, from short to long."""
        rows = self.plan.rows()
        return [int(row) for row in rows[np.argsort(self.index.durations[rows], kind="stable")]]


def audio_batches(fabric: Fabric, cfg: RunConfig, data: TrainingData, start: int) -> Iterator[Batch]:
    """This rank's endless batches from its `start`-th on; damaged segments are listed in quarantine.jsonl."""
    settings = LoaderConfig(
        index=data.index,
        plan=data.plan.config,
        sampling_rate=cfg.frontend.sampling_rate,
        text_profile=cfg.text,
        num_workers=cfg.data.num_workers,
        augment=AugmentConfig(noise=cfg.data.noise if getattr(cfg.data.noise, "root", "") else None),
        ledger=quarantine_ledger(cfg),
    )
    loader = build_loader(settings, fabric.global_rank, fabric.world_size)
    epoch, step = data.plan.locate(start, fabric.world_size)
    loader.load_state_dict({**loader.state_dict(), "epoch": epoch, "step": step})
    return loader


def quarantine_ledger(cfg: RunConfig) -> Path:
    """The file of all segments of a stage, of training or validation, that could not be used."""
    return Path(cfg.out_dir) / "quarantine.jsonl"


def text_batches(
    fabric: Fabric, cfg: RunConfig, data: TrainingData, start: int, known: Container[str] | None = None
) -> Iterator[Batch]:
    """The same batches without reading any audio; with `known`, only of the utterances in it."""
    normalize, step = profile(cfg.text).normalize, start
    while True:
        segments = _known_segments(fabric, data, step, known)
        yield Batch(
            ids=[segment.id for segment in segments],
            waveforms=torch.zeros(len(segments), 0, dtype=torch.int16),
            waveform_lens=torch.zeros(len(segments), dtype=torch.int64),
            sampling_rate=cfg.frontend.sampling_rate,
            texts=[normalize(segment.text, segment.lang) for segment in segments],
            langs=[segment.lang for segment in segments],
            durations=[segment.duration for segment in segments],
            step=step,
        )
        step += 1


def _known_segments(
    fabric: Fabric, data: TrainingData, step: int, known: Container[str] | None
) -> list[Segment]:
    """The segments of a batch; where all of them are unknown, those of the next batch that has some."""
    for later in range(step, step + data.plan.num_steps(fabric.world_size) + 1):
        epoch, place = data.plan.locate(later, fabric.world_size)
        rows = data.plan.batch(epoch, place, fabric.global_rank, fabric.world_size)
        segments = [data.index.row(int(row)) for row in rows]
        if found := [segment for segment in segments if known is None or segment.id in known]:
            return found
    raise CorruptAudio(f"no segment of {data.index.path} has an encoder output; all of them are damaged")


def cache_batches(cfg: RunConfig, data: TrainingData) -> list[Callable[[], Batch | None]]:
    """All usable segments, each once, in batches that only the index decides; a call reads one."""
    rows, first, quarantine = data.usable_rows(), 0, Quarantine(ledger=quarantine_ledger(cfg))
    batches: list[Callable[[], Batch | None]] = []
    for end in range(1, len(rows) + 1):
        longest = float(data.index.durations[rows[min(end, len(rows) - 1)]])
        if end == len(rows) or longest * (end + 1 - first) > ENCODED_SECONDS:
            batches.append(partial(_read, cfg, data.index, rows[first:end], quarantine))
            first = end
    return batches


def _read(cfg: RunConfig, index: SegmentIndex, rows: Sequence[int], quarantine: Quarantine) -> Batch | None:
    """The segments that can be read; the cache then lacks the others, and `text_batches` leaves them out."""
    rate = cfg.frontend.sampling_rate
    utterances = []
    for row in rows:
        segment = index.row(row)
        try:
            samples = read_audio(index, row, rate)
        except CorruptAudio as error:
            quarantine.record(index, row, error, step=0)
            continue
        quarantine.admit()
        utterances.append(Utterance(segment.id, samples, "", segment.lang))
    return collate(utterances, rate) if utterances else None
