"""Validation: greedy text of the validation index, word and character error rates by language and head."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from maya_data.indexing.segments import SegmentIndex
from maya_data.loading.loader import iter_once
from maya_eval.metrics import char_errors, word_errors
from maya_eval.normalize import profile
from maya_train.schema import RunConfig
from maya_train.sources import quarantine_ledger
from maya_train.tasks import Moment, Task

PROFILE = "indic-strict-v1"
BATCH_SIZE = 16

Validator = Callable[[Moment], dict[str, Any]]


def make_validator(fabric: Fabric, cfg: RunConfig, task: Task) -> Validator | None:
    """A function that scores the task's model as it is, or None where the run has no validation data."""
    if cfg.data.valid_index is None or not task.scored(Moment(cfg.max_steps, cfg.max_steps)):
        return None
    index = SegmentIndex.open(cfg.data.valid_index)

    def validate(moment: Moment) -> dict[str, Any]:
        heads = list(task.scored(moment))
        counts = _count(fabric, cfg, task, index, heads)
        reduced = fabric.all_reduce(counts, reduce_op="sum") if fabric.world_size > 1 else counts
        assert isinstance(reduced, Tensor)
        return summarize(reduced, heads, index.langs)

    return validate


def _count(fabric: Fabric, cfg: RunConfig, task: Task, index: SegmentIndex, heads: list[str]) -> Tensor:
    """Word errors, words, character errors, characters and utterances of this rank: (heads, languages, 5)."""
    counts = torch.zeros(len(heads), len(index.langs), 5, dtype=torch.int64)
    normalize = profile(PROFILE)
    batches = iter_once(
        index,
        batch_size=BATCH_SIZE,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        sampling_rate=cfg.frontend.sampling_rate,
        text_profile=cfg.text,
        ledger=quarantine_ledger(cfg),
    )
    for batch in batches:
        for head, texts in task.transcribe(batch.to(fabric.device), heads).items():
            for ref, hyp, lang in zip(batch.texts, texts, batch.langs, strict=True):
                ref, hyp = normalize(ref, lang), normalize(hyp, lang)
                words, chars = word_errors(ref, hyp), char_errors(ref, hyp)
                row = [words.errors, words.ref, chars.errors, chars.ref, 1]
                counts[heads.index(head), index.langs.index(lang)] += torch.tensor(row)
    return counts.to(fabric.device)


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
