"""Validation: greedy text of the validation index, word and character error rates by language and head."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric import Fabric
from torch import Tensor

from maya_data.audio.fetch import read_audio
from maya_data.indexing.segments import SegmentIndex
from maya_data.loading.batch import Batch
from maya_data.loading.loader import iter_once
from maya_data.loading.reading import Job, Reader
from maya_eval.metrics import char_errors, word_errors
from maya_eval.normalize import profile
from maya_train.schema import RunConfig
from maya_train.sources import quarantine_ledger
from maya_train.tasks import Moment, Task

PROFILE = "indic-strict-v1"
BATCH_SIZE = 16
SLOW = ("llm",)
"""Heads that write a token at a time through a large model: they may be asked for fewer utterances."""

Ints = npt.NDArray[np.int64]

Validator = Callable[[Moment], dict[str, Any]]


def make_validator(fabric: Fabric, cfg: RunConfig, task: Task) -> Validator | None:
    """A function that scores the task's model as it is, or None where the run has no validation data."""
    if cfg.data.valid_index is None or not task.scored(Moment(cfg.max_steps, cfg.max_steps)):
        return None
    index = SegmentIndex.open(cfg.data.valid_index)
    few = None if cfg.data.valid_llm is None else few_rows(index, cfg.data.valid_llm)

    def validate(moment: Moment) -> dict[str, Any]:
        heads = list(task.scored(moment))
        slow = [head for head in heads if head in SLOW and few is not None]
        fast = [head for head in heads if head not in slow]
        counts = torch.zeros(len(heads), len(index.langs), 5, dtype=torch.int64)
        if fast:
            _count(task, _batches(fabric, cfg, index), fast, index.langs, counts[: len(fast)])
        if slow and few is not None:
            _count(task, _chosen(fabric, cfg, index, few), slow, index.langs, counts[len(fast) :])
        counts = counts.to(fabric.device)
        reduced = fabric.all_reduce(counts, reduce_op="sum") if fabric.world_size > 1 else counts
        assert isinstance(reduced, Tensor)
        return summarize(reduced, [*fast, *slow], index.langs)

    return validate


def few_rows(index: SegmentIndex, number: int) -> Ints:
    """Rows of at most `number` segments of each language, spread over the index: always the same ones."""
    langs = np.asarray(index.lang_ids)
    found = []
    for lang in range(len(index.langs)):
        rows = np.flatnonzero(langs == lang)
        found.append(rows[np.linspace(0, len(rows) - 1, min(number, len(rows))).astype(np.int64)])
    rows = np.concatenate(found) if found else np.zeros(0, np.int64)
    return rows[np.argsort(-np.asarray(index.durations)[rows], kind="stable")]


def _batches(fabric: Fabric, cfg: RunConfig, index: SegmentIndex) -> Iterator[Batch]:
    """This rank's share of the whole index."""
    batches = iter_once(
        index,
        batch_size=BATCH_SIZE,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        sampling_rate=cfg.frontend.sampling_rate,
        text_profile=cfg.text,
        ledger=quarantine_ledger(cfg),
    )
    return (batch.to(fabric.device) for batch in batches)


def _chosen(fabric: Fabric, cfg: RunConfig, index: SegmentIndex, rows: Ints) -> Iterator[Batch]:
    """This rank's share of some rows; what cannot be read is left out."""
    own = rows[fabric.global_rank :: fabric.world_size]
    reader = Reader(index, cfg.frontend.sampling_rate, cfg.text, read_audio)
    for start in range(0, len(own), BATCH_SIZE):
        loaded = reader[Job(own[start : start + BATCH_SIZE])]
        if loaded.error is not None:
            raise loaded.error
        if loaded.batch is not None:
            yield loaded.batch.to(fabric.device)


def _count(task: Task, batches: Iterator[Batch], heads: list[str], langs: list[str], counts: Tensor) -> None:
    """Add up word errors, words, character errors, characters and utterances in (heads, languages, 5)."""
    normalize = profile(PROFILE)
    for batch in batches:
        for head, texts in task.transcribe(batch, heads).items():
            for ref, hyp, lang in zip(batch.texts, texts, batch.langs, strict=True):
                ref, hyp = normalize(ref, lang), normalize(hyp, lang)
                words, chars = word_errors(ref, hyp), char_errors(ref, hyp)
                row = [words.errors, words.ref, chars.errors, chars.ref, 1]
                counts[heads.index(head), langs.index(lang)] += torch.tensor(row)


def summarize(counts: Tensor, heads: list[str], langs: list[str]) -> dict[str, Any]:
    """Rates by head and language, and their means over the languages, as fractions."""
    wer: dict[str, dict[str, float]] = {}
    cer: dict[str, dict[str, float]] = {}
    for head, rows in zip(heads, counts.tolist(), strict=True):
        seen = {lang: row for lang, row in zip(langs, rows, strict=True) if row[1]}
        wer[head] = {lang: round(row[0] / row[1], 5) for lang, row in seen.items()}
        cer[head] = {lang: round(row[2] / row[3], 5) for lang, row in seen.items()}
    mean = {head: {"wer": _mean(wer[head]), "cer": _mean(cer[head])} for head in heads}
    summary = "  ".join(f"{h} WER {100 * m['wer']:.1f} CER {100 * m['cer']:.1f} %" for h, m in mean.items())
    utterances = int(counts[0, :, 4].sum()) if heads else 0
    return {"utterances": utterances, "mean": mean, "wer": wer, "cer": cer, "summary": summary}


def _mean(rates: dict[str, float]) -> float:
    return round(sum(rates.values()) / len(rates), 5) if rates else float("nan")
