"""The largest batch of every bucket, found by real steps: the table that `data.buckets_file` reads.

A trial is a whole step (forward, backward, clipping, optimizer) of the stage's own task, on noise of the
bucket's longest duration with the text that has most tokens. On a GPU, too much is what the allocator refuses
or what is over `fraction` of the memory; on a CPU, what is over a budget.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import nn

from maya_data.loading.batch import Batch
from maya_data.planning.bucket_table import bucket_table
from maya_data.text import profile
from maya_train.build import build_task
from maya_train.data_plan import plan_config
from maya_train.errors import ConfigError
from maya_train.memory_meter import GIB, MemoryMeter
from maya_train.schema import RunConfig
from maya_train.sources import TrainingData
from maya_train.strategies import Capabilities
from maya_train.tasks import Moment, Task
from maya_train.wrapping import set_up

BUCKETS = 30
MOST = 512
"""Utterances in a batch, where the config sets no limit."""
SAMPLED = 1_000_000
"""Segments among which the longest text of a bucket is looked for."""
CLOSE = 0.05
"""A size is found when the next larger one that was too much is nearer than this share."""
GROWTH = 1.25
"""How much more than a guess that fits is tried next."""
FAR = 1.5
"""A batch that is expected to take so many times the budget is not tried."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """The worst of a bucket."""

    max_duration: float
    max_tokens: int | None
    text: str
    lang: str


@dataclass(frozen=True)
class Found:
    """One row of the table."""

    max_duration: float
    max_tokens: int | None
    batch_size: int
    peak_gib: float
    step_seconds: float


@dataclass(frozen=True)
class Measured:
    """A trial that fitted."""

    size: int
    peak: float
    seconds: float


def cases(
    cfg: RunConfig, data: TrainingData, tokenizer: str | None = None, token_buckets: int = 3
) -> list[Case]:
    """The buckets of a run's data, each with its longest text.

    Args:
        cfg: one stage.
        data: its data.
        tokenizer: hash of the model whose token counts cut each bucket again; None: by duration alone.
        token_buckets: how often.
    """
    number = cfg.data.num_buckets or BUCKETS
    settings = replace(
        plan_config(cfg),
        num_buckets=number,
        buckets_file=None,
        tokenizer=tokenizer,
        token_buckets=token_buckets,
    )
    rows = data.plan.rows()
    rows = rows[:: -(-len(rows) // SAMPLED)]
    seconds = np.asarray(data.index.durations[rows], np.float64) / min(settings.speeds)
    counted = data.index.token_counts(tokenizer) if tokenizer else data.index.columns["chars"]
    assert counted is not None
    lengths = np.asarray(counted[rows])
    found, spelling = [], profile(cfg.text)
    for bucket in bucket_table(data.index, settings).buckets:
        inside = seconds <= bucket.max_duration * 1.0001
        if bucket.max_tokens is not None:
            inside &= lengths <= bucket.max_tokens
        place = int(np.argmax(np.where(inside, lengths, -1)))
        segment = data.index.row(int(rows[place]))
        text = spelling.normalize(segment.text, segment.lang)
        found.append(Case(bucket.max_duration, bucket.max_tokens, text, segment.lang))
    return found


class Trial:
    """Steps of a stage's task on made-up batches."""

    def __init__(self, fabric: Fabric, cfg: RunConfig, task: Task) -> None:
        assert isinstance(task, nn.Module)
        self.fabric, self.cfg, self.task = fabric, cfg, task
        self._module, self._optimizer = set_up(fabric, cfg, task, Capabilities())
        self._meter = MemoryMeter(fabric.device)
        task.set_modes()

    def batch(self, case: Case, size: int) -> Batch:
        """`size` utterances as long as the bucket allows, all with its longest text."""
        rate = self.cfg.frontend.sampling_rate
        samples = max(1, round(case.max_duration * rate))
        noise = torch.randint(-3000, 3000, (size, samples), dtype=torch.int16)
        return Batch(
            ids=[str(number) for number in range(size)],
            waveforms=noise,
            waveform_lens=torch.full((size,), samples),
            sampling_rate=rate,
            texts=[case.text] * size,
            langs=[case.lang] * size,
            durations=[case.max_duration] * size,
            step=0,
        )

    def step(self, case: Case, size: int) -> Measured:
        """One step; raises what torch raises where memory is out."""
        self._meter.reset()
        started = time.perf_counter()
        work = self.task.prepare(self.batch(case, size).to(self.fabric.device))
        loss = self._module(work, Moment(self.cfg.max_steps - 1, self.cfg.max_steps))
        self.fabric.backward(loss.loss_sum / max(1, work.num_tokens))
        self.fabric.clip_gradients(
            self._module, self._optimizer, max_norm=self.cfg.grad_clip or 1.0, error_if_nonfinite=False
        )
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize(self.fabric.device)
        return Measured(size, self._meter.peak(), time.perf_counter() - started)

    def attempt(self, case: Case, size: int) -> Measured | None:
        """The step, or None where the device has too little memory."""
        try:
            return self.step(case, size)
        except torch.OutOfMemoryError:
            self._optimizer.zero_grad()
        return None


def largest(
    attempt: Callable[[int], Measured | None], budget: float, most: int, first: int = 1
) -> Measured | None:
    """The largest size from 1 to `most` whose peak is within `budget` bytes, or None.

    Doubles from `first` on, then halves what is left; sizes that by the last two peaks would go far beyond
    the budget are not tried, so that a machine without a limit of its own stays alive.

    Args:
        attempt: one step of a size; None where there was no memory for it.
        budget: bytes.
        most: largest size of interest.
        first: where to begin; a good guess saves trials.
    """
    tried: list[Measured] = []
    low, high = None, most + 1  # what fits, and what is too much, as far as is known

    def fits(size: int) -> Measured | None:
        if size > max((one.size for one in tried), default=size) and _expected(tried, size) > FAR * budget:
            return None
        measured = attempt(size)
        if measured is not None:
            tried.append(measured)
        return measured if measured is not None and measured.peak <= budget else None

    size = min(max(1, first), most)
    while size < high:
        if (measured := fits(size)) is not None:
            low, size = measured, min(_more(size, first), most) if size < most else high
        else:
            high, size = size, (size // 2 if low is None else high)
            if size < 1:
                return None
    while low is not None and high - low.size > max(1, CLOSE * low.size):
        middle = (low.size + high) // 2
        if (measured := fits(middle)) is not None:
            low = measured
        else:
            high = middle
    return low


def _more(size: int, first: int) -> int:
    """The next larger size to try: twice as much, or a little more than a good guess."""
    return 2 * size if first == 1 else max(size + 1, round(GROWTH * size))


def _expected(tried: Sequence[Measured], size: int) -> float:
    """Peak of a size, by a line through the two largest that were tried."""
    known = sorted({one.size: one for one in tried}.values(), key=lambda one: one.size)[-2:]
    if len(known) < 2:
        return 0.0
    slope = (known[1].peak - known[0].peak) / (known[1].size - known[0].size)
    return known[1].peak + max(0.0, slope) * (size - known[1].size)


def calibrate(
    trial: Trial, buckets: Sequence[Case], budget_gib: float, say: Say = lambda text: None
) -> list[Found]:
    """The largest batch of each bucket, longest first.

    Raises:
        ConfigError: one utterance of the longest bucket is too much.
    """
    most, found = trial.cfg.data.max_batch_size or MOST, []
    order = sorted(buckets, key=lambda case: (case.max_duration, case.max_tokens or 0), reverse=True)
    trial.step(order[-1], 1)  # the optimizer's state comes with the first step
    first, before = 1, order[0].max_duration
    for case in order:
        first = max(1, int(first * before / case.max_duration))
        best = largest(lambda size, case=case: trial.attempt(case, size), budget_gib * GIB, most, first)  # type: ignore[misc]
        if best is None:
            raise ConfigError(
                f"one utterance of {case.max_duration:.1f} s takes more than {budget_gib:.1f} GiB; lower"
                " data.max_duration, shard the model, or turn on activation checkpointing"
            )
        first, before = best.size, case.max_duration
        found.append(Found(case.max_duration, case.max_tokens, best.size, best.peak / GIB, best.seconds))
        tokens = "" if case.max_tokens is None else f", {case.max_tokens} tokens"
        say(f"up to {case.max_duration:6.2f} s{tokens}: {best.size} utterances, {best.peak / GIB:.2f} GiB")
    return found[::-1]


def monotone(rows: Sequence[Found]) -> list[Found]:
    """Rows in which no shorter bucket has a smaller batch than a longer one, as measuring alone may give."""
    kept: list[Found] = []
    for row in sorted(rows, key=lambda row: (row.max_duration, row.max_tokens or 0), reverse=True):
        above = [
            other.batch_size
            for other in kept
            if other.max_duration >= row.max_duration and (other.max_tokens or 0) >= (row.max_tokens or 0)
        ]
        kept.append(replace(row, batch_size=max([row.batch_size, *above])))
    return kept[::-1]


def write_table(path: Path, rows: Sequence[Found], facts: dict[str, Any]) -> None:
    """Write the table, whole or not at all."""
    content = {**facts, "buckets": [asdict(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def make_trial(fabric: Fabric, cfg: RunConfig, data: TrainingData, say: Say) -> Trial:
    """The stage's own task; weights do not matter, so those of a stage that has not run yet are fresh."""
    if cfg.cache_encoder:
        cfg = replace(cfg, cache_encoder=False)
    if cfg.init_from is not None and not Path(cfg.init_from).is_dir():
        say(f"{cfg.init_from} is not there yet: fresh weights take as much memory")
        cfg = replace(cfg, init_from=None)
    return Trial(fabric, cfg, build_task(fabric, cfg, data, say)[0])
